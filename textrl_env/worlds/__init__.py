"""Built-in worlds: text tasks with a known gold reward, small enough to train on a laptop CPU.

Each world is a module and a Gymnasium id (`textrl_env.registry`); `textrl_env.worlds.world` says what all of them
have. Import the one you need, for example `from textrl_env.worlds.copying import CopyWorld`; the support desk is a
package of its own, `from textrl_env.worlds import support_desk`.
"""
