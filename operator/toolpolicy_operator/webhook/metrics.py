"""What the webhook counts. No label comes from a client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reviews = Counter(
            "toolpolicy_webhook_reviews_total",
            "Admission reviews. Result: injected, left; allowed, denied; failed is a bug.",
            ["webhook", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "toolpolicy_webhook_review_duration_seconds",
            "Time to answer an admission review.",
            ["webhook"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.certificate_expires = Gauge(
            "toolpolicy_webhook_certificate_expiry_timestamp_seconds",
            "Until when the certificate in use is valid.",
            registry=self.registry,
        )
