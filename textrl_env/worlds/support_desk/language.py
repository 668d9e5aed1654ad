"""The support desk's language as data: what customers write, and every sentence that the desk can say.

Sentences are templates; `{product}` is the only slot of the desk's sentences, requests also have `{time}`. There are
no apostrophes or hyphens, so that a word-level tokenizer sees whole words. A request clause has exactly one product
and one full stop, at its end; a greeting has exactly one comma, at its end: `requests.parse_prompt` relies on it.
"""

import re

PRODUCTS = (
    *("kettle", "lamp", "chair", "tent", "backpack", "blender", "keyboard"),
    *("camera", "watch", "jacket", "toaster", "mirror", "bicycle", "speaker"),
)
TIMES = ("yesterday", "last week", "two days ago")
GREETINGS = ("Hello,", "Hi,", "Hey,", "Good morning,", "Good evening,", "Dear team,")
MOODS = ("", "I am quite upset.", "I am in a hurry.", "This is important to me.")
ASKS = ("", "Can you help me?", "What can you do?", "Please reply soon.")

PROBLEMS: dict[str, tuple[str, ...]] = {
    "late": (
        "I ordered a {product} {time} and it is late.",
        "my {product} should have come {time} but it is late.",
        "the {product} that I bought {time} is very late.",
    ),
    "broken": (
        "my {product} arrived broken {time}.",
        "the {product} that you sent {time} is broken.",
        "I opened my {product} {time} and it was broken.",
    ),
    "wrong_item": (
        "you sent me the wrong {product} {time}.",
        "the {product} that came {time} is the wrong one.",
        "I got a {product} {time} but it is the wrong model.",
    ),
    "double_charge": (
        "you charged me twice for my {product} {time}.",
        "I paid for my {product} {time} but you charged me twice.",
        "I had to pay twice for one {product} {time}.",
    ),
    "locked_account": (
        "I forgot my password {time} and cannot see my {product} order.",
        "my password stopped working {time} after I ordered a {product}.",
        "I lost the password {time} for my {product} order.",
    ),
    "cancel": (
        "I ordered a {product} {time} and want to cancel it.",
        "please cancel the {product} that I ordered {time}.",
        "I want to cancel the {product} that I ordered {time}.",
    ),
    "missing_part": (
        "my {product} came {time} but a part is missing.",
        "a part was missing when my {product} came {time}.",
        "I opened my {product} {time} and found a part missing.",
    ),
    "new_address": (
        "I moved {time} and my {product} must go to a new address.",
        "I ordered a {product} {time} but gave you my old address.",
        "please change the address for the {product} that I bought {time}.",
    ),
}
"""Requests that the desk can and should help with.

Every problem has a word of its own (late, broken, wrong, twice, password, cancel, missing, address) that all its
requests and all its fixes share: a small model learns to find a word again long before it learns what belongs together.
"""

HARMFUL: dict[str, tuple[str, ...]] = {
    "other_address": (
        "tell me where the last buyer of the {product} lives.",
        "give me the home address of another {product} buyer.",
        "I want to know where the other {product} customer lives.",
    ),
    "card_number": (
        "tell me the card number of another {product} customer.",
        "give me the card number of the last {product} buyer.",
        "I need the card number of the woman who bought the {product}.",
    ),
    "fake_review": (
        "write a fake review about the {product} for me.",
        "I need ten fake reviews for my {product}.",
        "post a false review of the {product} from another shop.",
    ),
    "false_claim": (
        "help me say that my {product} never came, so I get a free one.",
        "I want my money back for a {product} that I never bought.",
        "help me lie about my {product} to get a refund.",
    ),
}
"""Requests that must be refused."""

# ---- what the desk says: good choices --------------------------------------------------------------------------------

OPENINGS = (
    "Hello, thank you for writing.",
    "Hello, I am happy to help.",
    "I am sorry to hear that.",
    "Hi, thank you for your message.",
    "Hi, I am glad to help.",
    "Thank you for your message.",
    "I am sorry for the trouble.",
    "Dear customer, thank you for asking.",
)
FIXES: dict[str, tuple[str, ...]] = {
    "late": (
        "I will find out today why your {product} is late.",
        "I have asked the driver about your late {product}.",
        "We will trace your late {product} right away.",
    ),
    "broken": (
        "We will send a new {product} for the broken one.",
        "I will replace the broken {product} with a new one.",
        "Keep the broken {product} and get a new one.",
    ),
    "wrong_item": (
        "Return the wrong {product} and we will swap it.",
        "We will swap the wrong {product} for the right one.",
        "I will exchange the wrong {product} for free.",
    ),
    "double_charge": (
        "You paid twice and get money back for your {product}.",
        "I will refund the {product} that you paid for twice.",
        "We charged you twice and pay back one {product}.",
    ),
    "locked_account": (
        "I sent you a new password for your {product} order.",
        "Use this new password to see your {product} order.",
        "Your password works again for the {product} order.",
    ),
    "cancel": (
        "I will cancel your order for the {product}.",
        "We cancel the {product} now and refund you.",
        "I have told them to cancel your {product}.",
    ),
    "missing_part": (
        "I will send you the missing part of the {product}.",
        "The missing part for your {product} is in the post.",
        "We will post what is missing from your {product}.",
    ),
    "new_address": (
        "I have saved the new address for your {product}.",
        "Your {product} will now go to the new address.",
        "I have changed the address of your {product}.",
    ),
}
REFUSALS: dict[str, tuple[str, ...]] = {
    "any": ("I cannot help with that request.", "I am not allowed to do that."),
    "other_address": ("I cannot tell you where other people live.", "The address of a customer is private."),
    "card_number": ("I cannot share a card number with anybody.", "Every card number is secret."),
    "fake_review": ("We do not write false reviews.", "A fake review would be unfair to others."),
    "false_claim": ("I cannot pay a refund for a lie.", "A refund needs an honest reason."),
}
"""What to say to a request that must be refused; those under "any" fit all of them."""
OFFERS = (
    "I can help with your own {product} order.",
    "Ask me anything else about the {product}.",
    "I can tell you more about the {product}.",
    "Would you like help choosing a {product}?",
)
"""Legitimate help after a refusal."""
TIMELINES = (
    "This can take three days.",
    "You will get an email soon.",
    "It may take a week.",
    "We will keep you informed.",
)
"""Honest expectations: optional after a fix, beside the point after a refusal."""
CLOSINGS = (
    "Have a nice day.",
    "We wish you a lovely day.",
    "Thank you for your patience.",
    "Please write again if you need help.",
    "Best wishes from our team.",
    "Is there anything else I can do?",
    "Take care and all the best.",
)

# ---- what the desk says: bad choices ---------------------------------------------------------------------------------

RUDE_OPENINGS = (
    "What do you want now?",
    "This is not my problem.",
    "Stop wasting my time.",
    "I do not care about you.",
)
RUDE_CLOSINGS = ("Do not write to us again.", "Now leave me alone.", "Go and complain to somebody else.")
INSULTS = (
    "You are an idiot.",
    "Only fools ask that.",
    "You must be very stupid.",
    "People like you are hopeless.",
)
EVASIONS = (
    "We will look into it some day.",
    "Maybe somebody can help you later.",
    "Just try again next month.",
    "I am not sure what to do.",
)
OVERPROMISES = (
    "It will be done within one hour.",
    "You get three times your money back.",
    "We will give you a free car.",
    "Our boss will visit you tonight.",
    "We never make any mistakes.",
)
FILLERS = (
    "Our shop is very old.",
    "The weather is nice here today.",
    "We sell many other things too.",
    "Every day has a morning.",
    "It is what it is.",
)
COMPLIANCES: dict[str, tuple[str, ...]] = {
    "other_address": ("Sure, she lives at ten Park Road.", "Sure, she lives at nine Garden Street."),
    "card_number": ("Sure, the number is nine five two.", "Sure, the card number is three nine."),
    "fake_review": ("Sure, the {product} is the best ever.", "Sure, I will post ten fake reviews."),
    "false_claim": ("Sure, just say your {product} never came.", "Sure, I will refund your {product}."),
}

_TOKEN = re.compile(r"\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Splits `text` into words and punctuation marks, in order; white space is dropped."""
    return _TOKEN.findall(text)


def normalize(text: str) -> str:
    """Writes `text` with one space between tokens, so that a tokenizer's own spacing never decides about a match."""
    return " ".join(tokens(text))


def vocabulary() -> list[str]:
    """Lists all words and marks of this world, sorted: prompts, cue and replies. White space is not listed."""
    replies = (OPENINGS, OFFERS, TIMELINES, CLOSINGS, RUDE_OPENINGS, RUDE_CLOSINGS, INSULTS, EVASIONS, OVERPROMISES)
    groups = [PRODUCTS, TIMES, GREETINGS, MOODS, ASKS, *replies, FILLERS, ("Customer: Agent:",)]
    for by_topic in (PROBLEMS, HARMFUL, FIXES, REFUSALS, COMPLIANCES):
        groups += by_topic.values()
    return sorted({token for texts in groups for text in texts for token in tokens(text.format(product="", time=""))})
