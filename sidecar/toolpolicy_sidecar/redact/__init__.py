"""Takes secrets out of texts and JSON documents. What is not hit stays byte for byte; what cannot be
read is Unscannable, so that nothing is vouched for by accident.

`redactor` is the way in: it unwraps JSON, forms, queries and paths. `scanner` finds and masks in one plain
text; `views` are the other ways to read that text; `detectors` holds what is looked for, as data.
"""
