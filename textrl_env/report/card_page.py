from pathlib import Path


def write_card(path: Path) -> Path:
    return path
