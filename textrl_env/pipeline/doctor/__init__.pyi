from .examination import CHECKS as CHECKS, examine as examine
from .setup import DType as DType, ModelFiles as ModelFiles, TrainingSetup as TrainingSetup
