# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a cluster: when, where to, what is there, what may go.

The agent itself stays small: what it imports here (settings, cron, plan, retention, manifest, catalog) is pure or reads
through a Store; boto3 is imported by s3_store alone, which only child processes open.
"""
