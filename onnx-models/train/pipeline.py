"""A text classifier as scikit-learn users have one: TF-IDF and logistic regression, exported by skl2onnx."""

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

TEXTS = {
    "spam": ["Cheap pills, buy now", "Win money now", "Buy cheap watches", "Free money: click now"],
    "ham": ["Meeting at noon tomorrow", "Lunch with the team", "Project report due tomorrow", "Notes of the meeting"],
}


def text(locale: str | None = "C.UTF-8") -> bytes:
    """`locale` is that in which letters become small ones; without it, what skl2onnx writes by itself."""
    labels = [label for label, texts in TEXTS.items() for _ in texts]
    vectorizer, classifier = TfidfVectorizer(), LogisticRegression()
    pipeline = make_pipeline(vectorizer, classifier).fit([text for texts in TEXTS.values() for text in texts], labels)
    # So coarse that every machine finds the same.
    classifier.coef_, classifier.intercept_ = np.round(classifier.coef_, 3), np.round(classifier.intercept_, 3)
    options = {id(pipeline): {"zipmap": False}}
    if locale is not None:
        options[TfidfVectorizer] = {"locale": locale}
    inputs = [("text", StringTensorType([None, 1]))]
    opsets = {"": 17, "ai.onnx.ml": 3}
    made = to_onnx(pipeline, name="text", initial_types=inputs, options=options, target_opset=opsets)
    # They come from a set.
    made.opset_import.sort(key=lambda opset: opset.domain)
    return made.SerializeToString(deterministic=True)
