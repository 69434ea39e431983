"""The v1 dialect: `/api/v1/<module>/<method>`, closed parameter sets and strict types."""
