"""Random documents and filters in the form of the Qdrant API, small enough that filters find something.

Filters never ask for true or false: the Python binding of the other engine hands these on as 1 and 0."""

WORDS = ["red", "green", "blue", "Red", "deep blue", "blue sky over", "", "über"]
DATES = ["2020-01-01T00:00:00Z", "2021-06-15", "2021-06-15T12:30:00+02:00", "2023-12-31T23:59:59.5Z", "1999-09-09 09:09:09"]
FIELDS = ["a", "b", "t", "n", "list", "list[]", "list[].a", "list[].n", "deep.a", "deep.list[].n", "list[0]", "where", "day"]


def document(made):
    """A payload."""
    fields = {}
    for name in ("a", "b", "n", "t", "list", "deep", "where", "day"):
        if made.random() < 0.7:
            fields[name] = value(made, name)
    return fields


def value(made, name):
    """A value that suits the name, or now and then one that does not."""
    if made.random() < 0.12:
        return made.choice([None, [], {}, True, 1, "red", [None], [1, "red"], 2.5])
    match name:
        case "n":
            return made.choice([integer(made), made.choice([0.5, 1.0, -2.5]), [integer(made) for _ in range(made.randint(0, 3))]])
        case "t" | "a":
            return made.choice([made.choice(WORDS), [made.choice(WORDS) for _ in range(made.randint(0, 3))]])
        case "b":
            return made.choice([True, False, integer(made), made.choice(WORDS)])
        case "list":
            return [{"a": made.choice(WORDS), "n": integer(made)} for _ in range(made.randint(0, 3))]
        case "deep":
            return {"a": made.choice(WORDS), "list": [{"n": integer(made)} for _ in range(made.randint(0, 2))]}
        case "where":
            place = lambda: {"lon": made.uniform(-5, 5), "lat": made.uniform(-5, 5)}
            return made.choice([place(), [place(), place()]])
        case _:
            return made.choice([made.choice(DATES), [made.choice(DATES), made.choice(DATES)]])


def integer(made):
    """A small one."""
    return made.randint(-3, 6)


def filter_of(made, depth=0):
    """A filter of one to three clauses."""
    clauses = {}
    for name in made.sample(["must", "should", "must_not", "min_should"], made.randint(1, 2)):
        conditions = [condition(made, depth) for _ in range(made.randint(1, 3))]
        clauses[name] = {"conditions": conditions, "min_count": made.randint(1, 2)} if name == "min_should" else conditions
    return clauses


def condition(made, depth):
    """A leaf, a filter or a nested one."""
    draw = made.random()
    if depth < 2 and draw < 0.12:
        return filter_of(made, depth + 1)
    if depth < 2 and draw < 0.2:
        inner = [leaf(made, made.choice(["a", "n"])) for _ in range(made.randint(1, 2))]
        return {"nested": {"key": made.choice(["list", "list[]", "deep.list"]), "filter": {made.choice(["must", "should", "must_not"]): inner}}}
    return leaf(made, made.choice(FIELDS))


def leaf(made, key):
    """One test of one field, or of a point."""
    kind = made.choice(["value", "value", "any", "except", "text", "phrase", "range", "range", "date", "count", "empty", "null", "id", "box", "radius", "polygon"])
    match kind:
        case "value":
            return {"key": key, "match": {"value": made.choice([made.choice(WORDS), integer(made)])}}
        case "any" | "except":
            words = made.sample(WORDS, 2) if made.random() < 0.5 else [integer(made), integer(made)]
            return {"key": key, "match": {kind: words}}
        case "text":
            return {"key": key, "match": {made.choice(["text", "text_any"]): made.choice(["red", "blue", "sky blue", "Deep", "el"])}}
        case "phrase":
            return {"key": key, "match": {"phrase": made.choice(["deep blue", "blue sky", "sky blue", "Red"])}}
        case "range":
            return {"key": key, "range": bounds(made, lambda: made.choice([integer(made), 0.5, 1.5]))}
        case "date":
            return {"key": "day", "range": bounds(made, lambda: made.choice(DATES))}
        case "count":
            return {"key": key, "values_count": bounds(made, lambda: made.randint(0, 3))}
        case "empty" | "null":
            return {f"is_{kind}": {"key": key}}
        case "id":
            return {"has_id": [made.randint(0, 199) for _ in range(made.randint(0, 40))]}
        case "box":
            west, south = made.uniform(-5, 4), made.uniform(-5, 4)
            corner = lambda lon, lat: {"lon": lon, "lat": lat}
            return {"key": "where", "geo_bounding_box": {"top_left": corner(west, south + 4), "bottom_right": corner(west + 4, south)}}
        case "radius":
            return {"key": "where", "geo_radius": {"center": {"lon": made.uniform(-5, 5), "lat": made.uniform(-5, 5)}, "radius": made.uniform(1e4, 6e5)}}
        case _:
            return {"key": "where", "geo_polygon": {"exterior": {"points": ring(made)}}}


def ring(made):
    """A closed ring of four corners."""
    west, south, width = made.uniform(-5, 0), made.uniform(-5, 0), made.uniform(1, 6)
    corners = [(west, south), (west + width, south), (west + width, south + width), (west, south + width), (west, south)]
    return [{"lon": lon, "lat": lat} for lon, lat in corners]


def bounds(made, one):
    """One or two bounds."""
    sides = made.sample([made.choice(["gt", "gte"]), made.choice(["lt", "lte"])], made.randint(1, 2))
    return {side: one() for side in sides}
