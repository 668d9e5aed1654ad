from .locks import locked as locked
from .model_files import digest_model as digest_model, exporting as exporting
from .whole import (
    NEW as NEW,
    digest_file as digest_file,
    find_whole as find_whole,
    remove_folder as remove_folder,
    replacing as replacing,
    sweep as sweep,
    write_bytes as write_bytes,
    write_text as write_text,
    writing as writing,
)
