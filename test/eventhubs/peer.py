# Qpid Proton, a client that nobody made for Event Hubs, under the test's hand: every line on standard input is a request {"id", "do", ...}
# and every line on standard output the answer to one, as with driver.js.
import base64
import json
import os
import sys
import uuid

from proton import (Described, Message, PropertyDict, SSLDomain, byte, char, float32, int32, short, symbol, timestamp, ubyte, uint, ulong, ushort)
from proton.reactor import Filter
from proton.utils import BlockingConnection, LinkDetached

SELECTOR, SELECTOR_CODE = symbol("apache.org:selector-filter:string"), ulong(0x468C00000004)

connections, senders, receivers = {}, {}, {}

wrap = {
    "null": lambda v: None, "boolean": bool, "ubyte": ubyte, "ushort": ushort, "uint": uint, "ulong": lambda v: ulong(int(v)), "byte": byte, "short": short, "int": int32,
    "long": int, "float": float32, "double": float, "timestamp": timestamp, "uuid": uuid.UUID, "binary": base64.b64decode, "string": str, "symbol": symbol,
    "char": char, "list": lambda v: [plain(i) for i in v], "map": lambda v: {plain(k): plain(i) for k, i in v},
}


def plain(typed):
    kind, v = next(iter(typed.items()))
    return wrap[kind](v)


names = [
    (ubyte, "ubyte"), (ushort, "ushort"), (uint, "uint"), (timestamp, "timestamp"), (ulong, "ulong"), (byte, "byte"), (short, "short"), (int32, "int"), (float32, "float"),
    (symbol, "symbol"), (char, "char"),
]


def typed(v):
    if v is None:
        return {"null": None}
    if isinstance(v, bool):
        return {"boolean": v}
    for kind, name in names:
        if isinstance(v, kind):
            return {name: str(int(v)) if name == "ulong" else v if isinstance(v, (float, str)) else int(v)}
    if isinstance(v, int):
        return {"long": str(v)}
    if isinstance(v, float):
        return {"double": v}
    if isinstance(v, str):
        return {"string": v}
    if isinstance(v, (bytes, memoryview)):
        return {"binary": base64.b64encode(bytes(v)).decode()}
    if isinstance(v, uuid.UUID):
        return {"uuid": str(v)}
    if isinstance(v, dict):
        return {"map": [[typed(k), typed(i)] for k, i in v.items()]}
    if isinstance(v, (list, tuple)):
        return {"list": [typed(i) for i in v]}
    return {type(v).__name__: str(v)}


# connect begins with SASL, or without when there are no mechanisms.
def connect(q):
    tls = None
    if q.get("ca"):
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(q["ca"])
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER)
    more = {"user": q["user"], "password": q["password"]} if q.get("user") else {}
    connections[q["client"]] = BlockingConnection(
        q["url"], timeout=q.get("timeout", 10), ssl_domain=tls, sasl_enabled=bool(q.get("mechanisms")), allowed_mechs=q.get("mechanisms"), virtual_host=q.get("host"), **more)
    return {}


def close(q):
    connections.pop(q["client"]).close()
    return {}


# token puts a token at the node for claims.
def token(q):
    c = connections[q["client"]]
    out, back = c.create_sender("$cbs"), c.create_receiver("$cbs", credit=1)
    out.send(Message(id=q.get("messageId", "1"), reply_to=back.link.name, body=q["token"], inferred=False,
                     properties={"operation": "put-token", "type": q.get("type", "servicebus.windows.net:sastoken"), "name": q["audience"]}))
    answer = back.receive(timeout=10)
    p = answer.properties
    return {"status": typed(p["status-code"]), "description": p.get("status-description"), "correlation": typed(answer.correlation_id)}


def message(q):
    kind = next(k for k in ("data", "value", "sequence") if k in q)
    m = Message(properties={k: plain(v) for k, v in q.get("application", {}).items()})
    if kind == "sequence":
        m.body, m.inferred = [plain(i) for i in q["sequence"]], True
    else:
        m.body, m.inferred = plain(q[kind]), kind == "data"
    for name, v in q.get("properties", {}).items():
        v = plain(v)
        setattr(m, fields[name], v / 1000 if name in times else v)
    if "annotations" in q:
        m.annotations = PropertyDict({symbol(k): plain(v) for k, v in q["annotations"].items()})
    return m


fields = {
    "messageId": "id", "userId": "user_id", "to": "address", "subject": "subject", "replyTo": "reply_to", "correlationId": "correlation_id", "contentType": "content_type",
    "contentEncoding": "content_encoding", "absoluteExpiryTime": "expiry_time", "creationTime": "creation_time", "groupId": "group_id", "groupSequence": "group_sequence",
    "replyToGroupId": "reply_to_group_id",
}
times = ("absoluteExpiryTime", "creationTime")  # seconds, to Proton


# properties_of tells what is in the properties section. Proton forgets the types of some of it.
def properties_of(m):
    got = {}
    for name, attribute in fields.items():
        v = getattr(m, attribute)
        if not v:
            continue
        if name in times:
            got[name] = {"timestamp": round(v * 1000)}
        elif name == "groupSequence":
            got[name] = {"uint": v}
        elif name == "correlationId" and isinstance(v, int):
            got[name] = {"ulong": str(v)}
        else:
            got[name] = typed(str(v) if isinstance(v, symbol) else v)
    return got



# send sends events as messages of format 0, one after the other.
def send(q):
    key = (q["client"], q["address"])
    if key not in senders:
        senders[key] = connections[q["client"]].create_sender(q["address"])
    for e in q["messages"]:
        senders[key].send(message(e), timeout=10)
    return {}


class At(Filter):
    def __init__(self, selector):
        super().__init__({SELECTOR: Described(SELECTOR_CODE, selector)} if selector else {})


def receive(q):
    key = (q["client"], q["address"])
    if key not in receivers:
        # Proton attaches and grants credit in one go.
        receivers[key] = connections[q["client"]].create_receiver(q["address"], credit=q.get("credit", q["count"]), options=At(q.get("selector")))
    got = []
    while len(got) < q["count"]:
        m = receivers[key].receive(timeout=q.get("wait", 10))
        d = receivers[key].fetcher.unsettled
        got.append({
            "body": bytes(m.body).decode("utf-8", "replace") if isinstance(m.body, (bytes, memoryview)) else None, "value": typed(m.body), "inferred": m.inferred,
            "application": {k: typed(v) for k, v in (m.properties or {}).items()}, "annotations": {str(k): typed(v) for k, v in (m.annotations or {}).items()},
            "properties": properties_of(m), "unsettled": len(d),
        })
    return {"events": got}


does = {"connect": connect, "close": close, "token": token, "send": send, "receive": receive}

for line in sys.stdin:
    q = json.loads(line)
    try:
        answer = does[q["do"]](q)
    except LinkDetached as e:
        answer = {"error": {"name": "LinkDetached", "condition": e.condition or "", "message": str(e)}}
    except Exception as e:
        answer = {"error": {"name": type(e).__name__, "condition": "", "message": str(e)}}
    print(json.dumps({"id": q["id"], **answer}), flush=True)

os._exit(0)  # Proton's objects cannot be taken down in any order
