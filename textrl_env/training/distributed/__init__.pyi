from .processes import (
    Skeleton as Skeleton,
    local_index as local_index,
    process_count as process_count,
    process_index as process_index,
    sharded_like as sharded_like,
    whole as whole,
)
