"""Version 2 of the store: it names the rbkernel version it needs; notification tables exist.

A job's column `recorded` was named `told`, and its count of drained runs was never used.

Before, the first process that sent notifications made these tables. A running gateway of version 1
sets the store's version back to 1 at each readiness check, so this step may find its work already
done.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Upgrade the store from version 1: add, rename and drop columns and tables."""
    there = sa.inspect(op.get_bind())
    if "rbkernel" not in {column["name"] for column in there.get_columns("rbkernel_version")}:
        op.add_column("rbkernel_version", sa.Column("rbkernel", sa.Text))
    if "told" in {column["name"] for column in there.get_columns("rbkernel_jobs")}:
        op.alter_column("rbkernel_jobs", "told", new_column_name="recorded")
        op.drop_column("rbkernel_jobs", "drained")
    if not there.has_table("rbkernel_notifications"):
        op.create_table(
            "rbkernel_notifications",
            sa.Column("incident", sa.Text, primary_key=True),
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("target", sa.Text, primary_key=True),
            sa.Column("event", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("created_at", sa.Double, nullable=False),
            sa.Column("tries", sa.Integer, nullable=False),
            sa.Column("next_at", sa.Double, nullable=False),
            sa.Column("claimed_until", sa.Double, nullable=False),
            sa.Column("sent_at", sa.Double),
            sa.Column("problem", sa.Text, nullable=False),
            sa.Index("rbkernel_notifications_to_do", "target", "state"),
            sa.Index("rbkernel_notifications_sent", "target", "sent_at"),
        )
    if not there.has_table("rbkernel_notification_targets"):
        op.create_table(
            "rbkernel_notification_targets",
            sa.Column("target", sa.Text, primary_key=True),
            sa.Column("since", sa.Double, nullable=False),
        )
