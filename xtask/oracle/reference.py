"""The same filters as objects of qdrant-edge, and a shard that answers them."""

import qdrant_edge as edge


class Shard:
    """The documents, their ids counted from 0."""

    def __init__(self, folder, documents):
        folder.mkdir()
        params = edge.EdgeVectorParams(size=2, distance=edge.Distance.Dot)
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=params))
        points = [edge.Point(number, [1.0, 1.0], document) for number, document in enumerate(documents)]
        self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.count = len(documents)

    def passing(self, condition):
        """The points that pass, or the error."""
        try:
            records, _ = self.shard.scroll(edge.ScrollRequest(limit=self.count, filter=filter_of(condition)))
        except Exception as error:  # noqa: BLE001 - whatever it refuses with is an answer
            return f"refused: {error}"
        return {record.id for record in records}


def filter_of(clauses):
    """A filter object."""
    words = {}
    for name, conditions in clauses.items():
        if name == "min_should":
            inner = [condition_of(one) for one in conditions["conditions"]]
            words[name] = edge.MinShould(inner, conditions["min_count"])
        else:
            words[name] = [condition_of(one) for one in conditions]
    return edge.Filter(**words)


def condition_of(condition):
    """A condition object."""
    match condition:
        case {"has_id": ids}:
            return edge.HasIdCondition(set(ids))
        case {"is_empty": {"key": key}}:
            return edge.IsEmptyCondition(key)
        case {"is_null": {"key": key}}:
            return edge.IsNullCondition(key)
        case {"nested": {"key": key, "filter": inner}}:
            return edge.NestedCondition(key, filter_of(inner))
        case {"key": key, "match": match}:
            return edge.FieldCondition(key, match=match_of(match))
        case {"key": key, "range": bounds}:
            dated = any(isinstance(bound, str) for bound in bounds.values())
            return edge.FieldCondition(key, range=(edge.RangeDateTime if dated else edge.RangeFloat)(**bounds))
        case {"key": key, "values_count": bounds}:
            return edge.FieldCondition(key, values_count=edge.ValuesCount(**bounds))
        case {"key": key, "geo_bounding_box": box}:
            corners = edge.GeoBoundingBox(point(box["top_left"]), point(box["bottom_right"]))
            return edge.FieldCondition(key, geo_bounding_box=corners)
        case {"key": key, "geo_radius": circle}:
            return edge.FieldCondition(key, geo_radius=edge.GeoRadius(point(circle["center"]), circle["radius"]))
        case {"key": key, "geo_polygon": {"exterior": {"points": points}}}:
            return edge.FieldCondition(key, geo_polygon=edge.GeoPolygon([point(one) for one in points]))
    return filter_of(condition)


def point(place):
    """A place on earth."""
    return edge.GeoPoint(place["lon"], place["lat"])


def match_of(match):
    """A match object."""
    (kind, value), = match.items()
    kinds = {
        "value": edge.MatchValue, "any": edge.MatchAny, "except": edge.MatchExcept, "text": edge.MatchText,
        "text_any": edge.MatchTextAny, "phrase": edge.MatchPhrase,
    }
    return kinds[kind](value)
