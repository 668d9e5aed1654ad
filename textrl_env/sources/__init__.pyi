from .continuations import continuation_rows as continuation_rows
from .movie_reviews import load_rated_texts as load_rated_texts, split_by_review as split_by_review
from .pip_archive import sha256_of as sha256_of
from .smollm2 import smollm2_path as smollm2_path
from .vader import vader_sentiment as vader_sentiment
