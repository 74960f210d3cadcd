"""Takes secrets out of texts and JSON documents. Everything that is not hit stays byte for byte."""
