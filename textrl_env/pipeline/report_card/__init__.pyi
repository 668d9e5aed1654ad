from .gate import CARD as CARD, PAGE as PAGE, require_passed as require_passed
