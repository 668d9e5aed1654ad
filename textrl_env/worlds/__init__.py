"""Built-in worlds: text tasks with a known gold reward, small enough to train on a laptop CPU.

Each world is a subpackage; import the one you need, for example `from textrl_env.worlds import support_desk`.
"""
