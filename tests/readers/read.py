"""Readers that are not ours: what each exposition format says, as one JSON object.

    read.py openmetrics < body     the strict parser of PyPI's prometheus-client
    read.py text < body            its parser of text 0.0.4
    read.py protobuf < body        protoc's own code, by metrics.proto beside this file

Prints {"samples": [[name, {label: value}, bits]], "families": {name: [type, help, unit]}, "created": [..], "native": [..]}.
A value is the bits of its binary64, so that nothing is lost on the way; every NaN is one.
"""

import json
import math
import struct
import sys
import tempfile


def bits(value):
    value = float(value)
    return "nan" if math.isnan(value) else struct.pack(">d", value).hex()


def of_text(families, out):
    for family in families:
        name = family.name
        out["families"][name] = [family.type, family.documentation, family.unit]
        for sample in family.samples:
            if sample.timestamp is not None or sample.exemplar is not None:
                raise ValueError(f"a timestamp or an exemplar: {sample}")
            created = sample.name.endswith("_created") and family.type in ("counter", "histogram")
            out["created" if created else "samples"].append([sample.name, sample.labels, bits(sample.value)])


def varint(data, at):
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def of_protobuf(data, out):
    import os

    from grpc_tools import protoc

    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        if protoc.main(["", f"-I{here}", f"--python_out={folder}", "metrics.proto"]) != 0:
            sys.exit("protoc refuses metrics.proto")
        sys.path.insert(0, folder)
        import metrics_pb2
    from prometheus_client.utils import floatToGoString

    at = 0
    while at < len(data):
        length, at = varint(data, at)
        family = metrics_pb2.MetricFamily.FromString(data[at : at + length])
        if len(data) < at + length:
            raise ValueError("the body is cut")
        if unknown(family):
            raise ValueError(f"{family.name} has fields that the format has not")
        at += length
        if not family.metric:
            raise ValueError(f"{family.name} has no metric")
        kind = metrics_pb2.MetricType.Name(family.type).lower()
        if family.name in out["families"]:
            raise ValueError(f"{family.name} stands twice")
        out["families"][family.name] = [kind, family.help, family.unit]
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            if len(labels) != len(metric.label):
                raise ValueError(f"{family.name}: a label stands twice")
            add = lambda suffix, value, **more: out["samples"].append(
                [family.name + suffix, {**labels, **more}, bits(value)]
            )
            message = {"counter": metric.counter, "gauge": metric.gauge, "histogram": metric.histogram}[kind]
            present = [field.name for field, _ in metric.ListFields() if field.name != "label"]
            if present != [kind]:
                raise ValueError(f"{family.name} is a {kind} and holds {present}")
            if kind in ("counter", "histogram") and message.HasField("start_timestamp"):
                start = message.start_timestamp
                out["created"].append([family.name, labels, bits(start.seconds + start.nanos / 1e9)])
            if kind != "histogram":
                add("", message.value)
                continue
            for bucket in message.bucket:
                add("_bucket", bucket.cumulative_count, le=floatToGoString(bucket.upper_bound))
            add("_sum", message.sample_sum)
            add("_count", message.sample_count)
            if message.HasField("schema"):
                out["native"].append([family.name, labels, native(message)])


def unknown(message):
    """Whether a message, or one in it, has a field that metrics.proto does not know."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)) > 0:
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            values = [value] if hasattr(value, "ListFields") else value
            if any(unknown(one) for one in values):
                return True
    return False


def native(message):
    """The native buckets, checked as a server does and against the classic ones."""
    counts, index, count = {}, 0, 0
    deltas = iter(message.positive_delta)
    for span in message.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            if count <= 0:
                raise ValueError(f"bucket {index} holds {count}")
            counts[index] = count
            index += 1
    if next(deltas, None) is not None:
        raise ValueError("more deltas than the spans have buckets")
    if message.zero_threshold <= 0 or not message.positive_span:
        raise ValueError("an empty histogram would not be seen as native")
    if message.zero_count + sum(counts.values()) != message.sample_count:
        raise ValueError("the buckets do not add up to the count")
    checked = 0
    for bucket in message.bucket:
        exponent = math.log2(bucket.upper_bound) if 0 < bucket.upper_bound < math.inf else None
        if exponent is not None and exponent == int(exponent) and bucket.upper_bound > message.zero_threshold:
            upper = int(exponent) << message.schema
            below = message.zero_count + sum(n for index, n in counts.items() if index <= upper)
            if below != bucket.cumulative_count:
                raise ValueError(f"{below} native and {bucket.cumulative_count} classic up to {bucket.upper_bound}")
            checked += 1
    return {
        "schema": message.schema,
        "zero_threshold": bits(message.zero_threshold),
        "zero_count": message.zero_count,
        "buckets": counts,
        "checked": checked,
    }


def main():
    out = {"samples": [], "families": {}, "created": [], "native": []}
    body = sys.stdin.buffer.read()
    kind = sys.argv[1]
    if kind == "protobuf":
        of_protobuf(body, out)
    elif kind == "openmetrics":
        from prometheus_client.openmetrics.parser import text_string_to_metric_families

        of_text(text_string_to_metric_families(body.decode()), out)
    elif kind == "text":
        from prometheus_client.parser import text_string_to_metric_families

        of_text(text_string_to_metric_families(body.decode()), out)
    else:
        sys.exit(__doc__)
    json.dump(out, sys.stdout)


main()
