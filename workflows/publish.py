"""Publish the data set: results/README.md, hops.csv, points.csv, comparison.csv and verdict.csv from the database.

    .venv/bin/python workflows/publish.py [--db results/emforce.db] [--out results] [--temperature 300]

Every value is written beside its uncertainty, every row beside the command that computes it again, the commit it was computed
with and its cost, and beside what is published about the same quantity; rows that failed are listed with their reason.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emforce import published
from emforce.commands.options import add_db, open_database
from emforce.recipe import ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_db(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=300.0, metavar="K", help="of Z* and Q* in the table (default 300)")
    options = parser.parse_args()
    with open_database(options) as database:
        for path in published.write(database, options.out, options.temperature):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main, "publish"))
