"""What stands behind `rb.decide`: recommendations, answers of the incident, buttons."""
