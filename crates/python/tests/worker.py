"""Another process that does what it is told, until it is killed: one JSON request a line, one answer a line."""

import json
import sys

import nearfield


def main() -> None:
    db = nearfield.Database(sys.argv[1], dim=int(sys.argv[2]), metric=sys.argv[3])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            if name == "count of all":
                answer = [len(db), db.deleted_count, db.total_slots, sorted(db.ids())]
            elif name == "search":
                answer = [list(result) for result in db.search(*arguments)]
            else:
                answer = getattr(db, name)(*arguments)
            print(json.dumps({"answer": answer}), flush=True)
        except ValueError as error:
            print(json.dumps({"error": str(error)}), flush=True)


main()
