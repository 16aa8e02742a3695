"""The gallery's Flask application: a page, JSON in and out, an upload limit, and an error."""

import hashlib

from flask import Flask, abort, jsonify, request

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024


@app.get("/")
def index() -> str:
    return "<p>one job</p>\n"


@app.post("/digest")
def digest():
    words = request.get_json()
    if not isinstance(words, dict) or not isinstance(words.get("text"), str):
        abort(422)
    return jsonify(sha256=hashlib.sha256(words["text"].encode()).hexdigest())


@app.post("/form")
def form() -> str:
    return request.form["text"]


@app.get("/fail")
def fail() -> str:
    raise RuntimeError("asked to fail")
