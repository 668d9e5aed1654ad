from . import support_desk as support_desk
from .copying import CopyWorld as CopyWorld, ReverseWorld as ReverseWorld
from .enumerable import EnumerableWorld as EnumerableWorld
from .exact import OptimumGap as OptimumGap, completion_tree as completion_tree
from .hackable import HackableWorld as HackableWorld
from .numbers import ArithmeticWorld as ArithmeticWorld, SortWorld as SortWorld
from .tokenizers import CharacterTokenizer as CharacterTokenizer, LetterTokenizer as LetterTokenizer
from .world import World as World
