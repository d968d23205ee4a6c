"""The gateway: takes in alerts, starts runs, sends notifications and serves pages."""
