"""The API's vocabulary: typed requests and answers, filters, references, versions."""
