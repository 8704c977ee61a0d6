"""The official openai Python client as a real caller of the gateway.

Runs against BASE_URL (a gateway that `with-gateway` started in front of a fake
provider whose behaviour is chosen by model name) and ends with `N passed, N failed`.
It must never talk to anything but BASE_URL, and never retry behind the checks' back.
"""

import asyncio
import json
import os
import sys
import traceback

import openai
from pydantic import BaseModel

BASE_URL = os.environ["BASE_URL"]
KEY = os.environ["API_KEY"]
LIMITED_KEY = os.environ["LIMITED_API_KEY"]
ASK = [{"role": "user", "content": "Say hello, then a word in Japanese."}]
ANSWER = "Hello there, 世界! 👋🏽 Done."
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}

client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=60)
checks = []


def check(function):
    checks.append(function)
    return function


def raises(kind, function):
    """The error `function` raises, which must be exactly of class `kind`."""
    try:
        got = function()
    except openai.OpenAIError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"no {kind.__name__}; it returned {got!r}"[:500])


def chat(model, **more):
    return client.chat.completions.create(model=model, messages=ASK, **more)


def read_text(stream):
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


@check
def chat_answer_and_request_id():
    answer = chat("chat")
    assert answer.choices[0].message.content == ANSWER, answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    assert answer._request_id, "no x-request-id"


@check
def request_id_of_the_caller_is_kept():
    answer = chat("chat", extra_headers={"x-request-id": "sdk-test-42"})
    assert answer._request_id == "sdk-test-42", answer._request_id


@check
def concierge_headers_say_who_answered():
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=ASK)
    assert raw.headers["x-concierge-target"] == "fake/chat", raw.headers
    assert raw.headers["x-concierge-attempts"] == "1", raw.headers


@check
def streamed_chat_is_whole():
    chunks = list(chat("chat", stream=True))
    assert read_text(chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.choices for c in chunks), "a usage chunk that nobody asked for"


@check
def streamed_usage_comes_when_asked():
    chunks = list(chat("chat", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1]


@check
def stream_helper_accumulates():
    with client.chat.completions.stream(model="chat", messages=ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == ANSWER


@check
def an_abandoned_stream_leaves_the_client_usable():
    with chat("chat", stream=True) as stream:
        next(iter(stream))
    assert chat("chat").choices[0].message.content == ANSWER


@check
def async_client():
    async def ask():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0) as other:
            stream = await other.chat.completions.create(model="chat", messages=ASK, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream])

    assert asyncio.run(ask()) == ANSWER


@check
def tools():
    call = chat("chat", tools=[TOOL]).choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather", call
    assert json.loads(call.function.arguments) == {"city": "Zürich"}, call


@check
def streamed_tools():
    with client.chat.completions.stream(model="chat", messages=ASK, tools=[TOOL]) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls", choice
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Zürich"}, choice


@check
def json_mode():
    text = chat("chat", response_format={"type": "json_object"}).choices[0].message.content
    assert json.loads(text) == {"city": "Zürich"}, text


@check
def json_schema_is_parsed():
    class Place(BaseModel):
        city: str

    parsed = client.chat.completions.parse(model="chat", messages=ASK, response_format=Place)
    assert parsed.choices[0].message.parsed.city == "Zürich"


@check
def legacy_completions():
    answer = client.completions.create(model="chat", prompt="Say hello")
    assert answer.choices[0].text == ANSWER, answer
    stream = client.completions.create(model="chat", prompt="Say hello", stream=True)
    assert "".join(c.choices[0].text for c in stream if c.choices) == ANSWER


@check
def embeddings_by_default_as_base64():
    answer = client.embeddings.create(model="embed", input=["one", "two"])
    assert [len(d.embedding) for d in answer.data] == [8, 8], answer
    assert abs(answer.data[0].embedding[1] - 0.125) < 1e-9, answer.data[0].embedding


@check
def embeddings_as_floats():
    answer = client.embeddings.create(model="embed", input="one", encoding_format="float")
    assert answer.data[0].embedding[1] == 0.125, answer


@check
def responses_answer():
    answer = client.responses.create(model="chat", input="Say hello")
    assert answer.output_text == ANSWER and answer._request_id, answer


@check
def responses_stream():
    events = list(client.responses.create(model="chat", input="Say hello", stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == ANSWER
    assert events[-1].type == "response.completed", events[-1]
    assert events[-1].response.usage.total_tokens > 0


@check
def models_are_listed():
    ids = {m.id for m in client.models.list()}
    assert {"chat", "embed", "org/family/chat-7b"} <= ids, ids


@check
def a_model_with_slashes_is_retrieved_and_used():
    assert client.models.retrieve("org/family/chat-7b").id == "org/family/chat-7b"
    assert chat("org/family/chat-7b").choices[0].message.content == ANSWER


@check
def failover_is_invisible():
    raw = client.chat.completions.with_raw_response.create(model="first-fails", messages=ASK)
    assert raw.parse().choices[0].message.content == ANSWER
    assert raw.headers["x-concierge-attempts"] == "2", raw.headers
    assert read_text(chat("first-fails", stream=True)) == ANSWER


@check
def wrong_key():
    error = raises(openai.AuthenticationError, lambda: openai.OpenAI(
        base_url=BASE_URL, api_key="sk-wrong-key", max_retries=0).models.list())
    assert error.code == "invalid_api_key" and error.request_id, error
    assert "sk-wrong-key" not in str(error), error


@check
def model_that_this_key_may_not_use():
    limited = openai.OpenAI(base_url=BASE_URL, api_key=LIMITED_KEY, max_retries=0)
    error = raises(openai.PermissionDeniedError, lambda: limited.chat.completions.create(model="chat", messages=ASK))
    assert error.code == "model_not_allowed", error


@check
def unknown_model():
    error = raises(openai.NotFoundError, lambda: chat("no-such-model"))
    assert error.code == "model_not_found" and error.request_id, error.body


@check
def unknown_model_is_not_retrieved():
    assert raises(openai.NotFoundError, lambda: client.models.retrieve("no/such")).code == "model_not_found"


@check
def bad_request_is_the_providers_own():
    error = raises(openai.BadRequestError, lambda: chat("bad-request"))
    assert error.code == "unsupported_value" and error.param == "temperature", error.body
    assert "does not support 7" in error.message, error.message
    assert error.type == "invalid_request_error" and error.request_id, error.body


@check
def bad_request_of_a_stream():
    assert raises(openai.BadRequestError, lambda: chat("bad-request", stream=True)).code == "unsupported_value"


@check
def missing_model_field():
    error = raises(openai.BadRequestError, lambda: client.post(
        "/chat/completions", body={"messages": ASK}, cast_to=object))
    assert error.code == "missing_field" and error.param == "model", error.body


@check
def rate_limit():
    error = raises(openai.RateLimitError, lambda: chat("rate-limited"))
    assert error.code == "upstream_rate_limited" and error.type == "rate_limit_error", error.body
    assert 1 <= float(error.response.headers["retry-after"]) <= 60, error.response.headers
    assert float(error.response.headers["retry-after-ms"]) >= 1000, error.response.headers


@check
def provider_down_is_not_retried_by_the_client():
    eager = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=2)
    error = raises(openai.InternalServerError, lambda: eager.chat.completions.create(model="broken", messages=ASK))
    assert error.status_code == 502 and error.code == "upstream_error", (error.status_code, error.body)
    assert error.request_id and error.response.headers["x-should-retry"] == "false", error.response.headers
    assert error.response.request.headers["x-stainless-retry-count"] == "0", "the client retried"


@check
def refused_provider_key_is_never_a_401():
    error = raises(openai.InternalServerError, lambda: chat("key-refused"))
    assert error.status_code == 502 and error.code == "upstream_auth_error", error.body


@check
def nonsense_with_200_is_an_error():
    for model in ("html-200", "error-200", "empty-200", "truncated-200"):
        for stream in (False, True):
            error = raises(openai.InternalServerError, lambda: chat(model, stream=stream))
            assert error.status_code == 502, (model, stream, error.status_code)


def cut_stream_raises(model):
    text = []

    def read():
        for chunk in chat(model, stream=True):
            text.append(chunk.choices[0].delta.content or "")

    error = raises(openai.APIError, read)
    assert error.code == "stream_interrupted", error.body
    assert "".join(text) and ANSWER.startswith("".join(text)), text


@check
def stream_cut_by_a_reset_raises():
    cut_stream_raises("cut-reset")


@check
def stream_that_ends_too_early_but_cleanly_raises():
    cut_stream_raises("cut-clean")


@check
def responses_stream_cut_raises():
    error = raises(openai.APIError, lambda: list(client.responses.create(model="cut-responses", input="Hi", stream=True)))
    assert error.code == "stream_interrupted", error.body


def main():
    failed = 0
    for function in checks:
        name = f"python {function.__name__}"
        try:
            function()
            print(f"ok   {name}")
        except Exception as error:  # every failed check is a line, none stops the others
            failed += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {name}: {type(error).__name__}: {error} (line {last.lineno})")
    print(f"openai-python {openai.__version__}: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
