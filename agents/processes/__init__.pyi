from .alone import Processes as Processes, launched as launched
