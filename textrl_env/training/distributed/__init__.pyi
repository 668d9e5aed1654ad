from .launch import local_index as local_index, process_count as process_count, process_index as process_index
from .shards import Skeleton as Skeleton, sharded_like as sharded_like, whole as whole
