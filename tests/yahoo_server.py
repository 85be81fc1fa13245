"""A local server that speaks Yahoo's chart protocol, and a session that asks it."""

import json
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd
from curl_cffi import requests

NEW_YORK = "America/New_York"


class LocalSession(requests.Session):
    """Send every request to the local server, whatever host it was meant for."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    def request(self, method, url, *args, **kwargs):
        parts = urlsplit(url)
        local = f"http://127.0.0.1:{self.port}{parts.path}"
        url = f"{local}?{parts.query}" if parts.query else local
        return super().request(method, url, *args, **kwargs)


@dataclass
class Vendor:
    """What the server holds and how it behaves.

    Parameters
    ----------
    frames : dict of str to DataFrame
        By symbol: open, high, low, close, volume, and events as `dividends`,
        `capital_gains` and `splits`, in shares of the last row, as Yahoo sends them.
    faults : list of callable or None
        Taken one by one for each request of a history; a fault takes the handler and
        the answer's bytes and answers itself. None answers soundly.
    last_fault : callable or None
        What happens when `faults` are used up.
    """

    frames: dict[str, pd.DataFrame]
    faults: list = field(default_factory=list)
    last_fault: object = None
    requests: Counter = field(default_factory=Counter)


def chart(symbol, frame):
    """Return the answer to a request of a history."""
    stamps = [int(day.tz_localize(NEW_YORK).timestamp()) + 34200 for day in frame.index]
    events = {}
    for column, key in (("dividends", "dividends"), ("capital_gains", "capitalGains")):
        paid = frame[column] if column in frame else pd.Series(dtype=float)
        days = {
            str(stamp): {"amount": amount, "date": stamp}
            for stamp, amount in zip(stamps, paid, strict=False)
            if amount > 0
        }
        events |= {key: days} if days else {}
    splits = frame["splits"] if "splits" in frame else pd.Series(dtype=float)
    events["splits"] = {
        str(stamp): {"numerator": ratio, "denominator": 1, "date": stamp}
        for stamp, ratio in zip(stamps, splits, strict=False)
        if ratio > 0
    }
    names = ("open", "high", "low", "close", "volume")
    quote = {
        name: [None if pd.isna(value) else float(value) for value in frame[name]]
        for name in names
    }
    adjusted = frame["adj close"] if "adj close" in frame else frame["close"]
    closes = [None if pd.isna(value) else float(value) for value in adjusted]
    meta = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": "ETF",
        "exchangeTimezoneName": NEW_YORK,
        "validRanges": ["1d", "max"],
        "priceHint": 2,
    }
    indicators = {"quote": [quote], "adjclose": [{"adjclose": closes}]}
    result = {
        "meta": meta,
        "timestamp": stamps,
        "events": events,
        "indicators": indicators,
    }
    return {"chart": {"result": [result], "error": None}}


UNKNOWN = {
    "chart": {
        "result": None,
        "error": {
            "code": "Not Found",
            "description": "No data found, symbol may be delisted",
        },
    }
}


def status(code):
    """Make a fault that answers with an HTTP status."""
    return lambda handler, _: handler.answer(b"Too Many Requests", code)


def cut_short(handler, body):
    """Answer half a body, whole for HTTP."""
    handler.answer(body[: len(body) // 2])


def empty(handler, _):
    """Answer a chart without a row."""
    result = {"meta": chart("X", NO_ROWS)["chart"]["result"][0]["meta"]}
    result["indicators"] = {"quote": [{}], "adjclose": [{}]}
    body = {"chart": {"result": [result], "error": None}}
    handler.answer(json.dumps(body).encode())


def slow(handler, body):
    """Answer too late."""
    time.sleep(1.5)
    handler.answer(body)


NO_ROWS = pd.DataFrame(
    columns=["open", "high", "low", "close", "volume"], index=pd.DatetimeIndex([])
)


class Handler(BaseHTTPRequestHandler):
    """Answer for the vendor that the server holds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urlsplit(self.path)
        if not path.path.startswith("/v8/finance/chart/"):
            if "quoteSummary" in path.path:  # asked for a symbol without a chart
                self.answer(
                    json.dumps({"quoteSummary": UNKNOWN["chart"]}).encode(), 404
                )
                return
            self.answer(b"crumb" if "getcrumb" in path.path else b"<html></html>")
            return
        vendor, symbol = self.server.vendor, unquote(path.path.rsplit("/", 1)[1])
        asked = {key: value[0] for key, value in parse_qs(path.query).items()}
        if symbol not in vendor.frames:
            self.answer(json.dumps(UNKNOWN).encode(), 404)
            return
        frame = vendor.frames[symbol]
        if "period1" not in asked:
            body = json.dumps(chart(symbol, frame.iloc[-1:])).encode()
            self.answer(body)
            return
        vendor.requests[symbol] += 1
        spoil = vendor.faults.pop(0) if vendor.faults else vendor.last_fault
        moment = [
            pd.Timestamp(int(asked[key]), unit="s") for key in ("period1", "period2")
        ]
        body = json.dumps(chart(symbol, frame.loc[moment[0].normalize() : moment[1]]))
        (spoil or Handler.answer)(self, body.encode())

    do_POST = do_GET  # noqa: N815

    def answer(self, body, code=200):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the one who asked may be gone
            self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    """A server whose clients may be killed at any moment."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(vendor):
    """Serve `vendor` on a free port of this machine, and yield the port."""
    server = Server(("127.0.0.1", 0), Handler)
    server.vendor = vendor
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
