"""From what was counted and sampled to figures, text and what OpenTelemetry exports."""
