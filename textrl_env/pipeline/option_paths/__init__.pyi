from .path_checks import check_paths as check_paths, describe_file_error as describe_file_error
from .paths import (
    InputFile as InputFile,
    OutputFile as OutputFile,
    OutputFolder as OutputFolder,
    list_paths as list_paths,
    show_path as show_path,
)
