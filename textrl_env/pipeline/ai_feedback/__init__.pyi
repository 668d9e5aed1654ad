from .inputs import JudgeOptions as JudgeOptions, ReplyOptions as ReplyOptions
from .labels import AIFeedbackOptions as AIFeedbackOptions, run_ai_feedback as run_ai_feedback
from .revisions import RevisionOptions as RevisionOptions, run_revision as run_revision
