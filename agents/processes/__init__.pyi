from .accelerated import AcceleratedProcesses as AcceleratedProcesses
from .alone import Processes as Processes
from .launch import join_processes as join_processes
from .sharded import ShardedProcesses as ShardedProcesses
