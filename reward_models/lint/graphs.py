"""Cycles in directed graphs: strongly connected components, and a shortest cycle through a node."""

from collections import deque
from collections.abc import Mapping, Sequence

Graph = Mapping[int, Sequence[int]]


def strong_components(graph: Graph) -> list[list[int]]:
    """Those of two nodes or more: each node can be reached from every other (Tarjan 1972), without recursion.

    Args: graph: the successors of each node that has any.
    """
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in graph:
        if root in index:
            continue
        path = [(root, iter(graph[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while path:
            node, successors = path[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    path.append((successor, iter(graph.get(successor, ()))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], index[successor])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    if len(component) > 1:
                        found.append(sorted(component))
    return found


def shortest_cycle(graph: Graph, node: int) -> list[int]:
    """Nodes of a shortest cycle through `node`, which comes first; empty where there is none."""
    came_from: dict[int, int] = {}
    queue = deque([node])
    while queue:
        at = queue.popleft()
        for successor in graph.get(at, ()):
            if successor == node:
                cycle = [at]
                while cycle[-1] != node:
                    cycle.append(came_from[cycle[-1]])
                return cycle[::-1]
            if successor not in came_from:
                came_from[successor] = at
                queue.append(successor)
    return []
