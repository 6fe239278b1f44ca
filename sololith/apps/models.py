"Models: what language models there are, what each needs, how fast it is here, and how to get one."
import asyncio
from sololith import *

get_model = pipeline("Get a model", "A language model for this machine: fetched, checked, tried out, and chosen.")
WINDOWS = (4096, 8192, 16384, 32768, 65536)


@get_model.step(name="model")
async def fetched(model: Annotated[str,
        Help("A name of the page Models, or ollama:NAME of Ollama's library.")] = DEFAULT.name,
        progress: Progress = progress):
    "Which model? It is fetched once, goes on where it was broken off, and is checked by its hash."
    if model.startswith("ollama:"): return await pulled(model, progress)
    known = known_model(model)
    path = fetch_model(known, lambda at, what: progress(round(at / 1e6), round(known.size / 1e6), f"MB {what}"))
    return f"embedded:{path.name}"


async def pulled(model, progress):
    "Have Ollama pull a model; its id. Source: https://github.com/ollama/ollama/blob/main/docs/api.md#pull-a-model"
    body = dumps({"model": model.removeprefix("ollama:"), "stream": True}).encode()
    async for line in lines_of(f"{ollama_url()}/api/pull", body, who="Ollama"):
        if not line.strip(): continue
        said = parsed(line)
        if "error" in said: raise Problem(f"Ollama cannot pull it: {clip(said['error'], 160)}.", fix="Check its name.")
        progress(number_in(said, "completed") // 10**6, number_in(said, "total") // 10**6 or None,
            f"MB {clip(text_in(said, 'status'), 40)}")
    return model if ":" in model[7:] else f"{model}:latest"


@get_model.step
async def speed(model, ask: Ask):
    "How fast it is here."
    return await ask.on_loop(try_model(model_called(model)))


@get_model.step(name="use")
def used(model, speed):
    "It answers from now on."
    store["model"] = model_called(model).id
    return model


async def try_model(model):
    "What a model's first words take here. It is kept, and shown on the page Models."
    began, found = datetime.now(), {}
    async for chunk in model.stream([{"role": "user", "content": "Name ten fruits, in one line."}], limit=60):
        found |= chunk.usage or {}
    facts = {"tokens a second": found["speed"], "seconds to the first": found["first_ms"] / 1000,
        "seconds in all": round((datetime.now() - began).total_seconds(), 1)}
    store[f"ui.speed.{model.id}"] = facts
    return facts


def model_card(model_id, size, is_used):
    "A model: what is known of it, whether it is in use, and what can be done with it."
    kind, _, name = model_id.partition(":")
    if kind == "ollama":
        facts = f"In Ollama, {gigabytes(size)}." + " It leaves this machine." * name.endswith("cloud")
    elif kind == "openai":
        host = model_called(model_id).host
        facts = f"At {host or 'this machine'}." + " Your words leave this machine." * bool(host)
    else:
        known, window, free = next((k for k in CATALOGUE if k.file == name), None), window_size(), memory_free()
        needs = known.needs(window) if known else size + window * size // 40_000 + (200 << 20)
        facts = (f"{known.about if known else 'A file that you put into models/.'} {gigabytes(size)} on disk; "
            f"needs about {gigabytes(needs)} of memory with a window of {window:,} tokens"
            + ("." if needs < free else f", and {gigabytes(free)} are free: it may be slow, or fail."))
    if speed := store.get(f"ui.speed.{model_id}"):
        facts += f" {speed['tokens a second']:g} tokens a second, the first after {speed['seconds to the first']:.1f} s."
    chosen = dict(name="model", value=model_id, cls="quiet spins", hx_swap="none")
    use = Span("in use", cls="chip status-running") if is_used else Button("Use", hx_post="/models/use", **chosen)
    return Div(Div(H2(name.removesuffix(".gguf"), cls="grow"), use, Button("Try it", hx_post="/models/try", **chosen),
        cls="row"), P(facts, cls="muted small"), cls="card stack")


def gigabytes(size): return f"{size / 1e9:.1f} GB"


@rt("/models", methods=["GET"])
async def models_page(req: Request):
    model, free, window, files = await current_model(), memory_free(), window_size(), gguf_files()
    cards = [model_card(i, size, model and model.id == i) for i, size in await models_here()]
    more = [Div(Div(Strong(k.name), P(k.about, cls="muted small"), cls="grow"), Small(gigabytes(k.size)),
        Small(f"needs {gigabytes(k.needs(window))}" + ", more than is free" * (k.needs(window) > free),
            cls="error" if k.needs(window) > free else "muted"),
        link_button("Get", f"/get_a_model?model={k.name}"), cls="row")
        for k in CATALOGUE if home.models / k.file not in files]
    at_work = [P(A(f"“{job.row['title']}” is at work: {job.at:,g} of {job.total:,g} {job.what}", href=f"/runs/{job.run_id}"))
        for job in list(jobs.values()) if job.pipeline is get_model]
    return (*head("Models", window_form()), P(f"{gigabytes(free)} of memory are free on this machine.", cls="muted"),
        Div(*at_work,
            *(cards or [Div(H2("No model yet"), P("Get one below, start Ollama, or name a server."), cls="empty card")]),
            Div(H2("To get"), *more,
                P("Or put any GGUF file into ", Code(str(home.models)), ".", cls="muted small"), cls="card stack"),
            pull_form(), server_form(), cls="stack", id="model-list", hx_disinherit="*", hx_get="/models",
            hx_select="#model-list", hx_trigger=changed("settings", "jobs", "models"), hx_swap="morph:outerHTML"))


def window_form():
    "How many tokens a model is given to look at. A larger window takes memory, and time when it is read first."
    sizes = picker([(n, f"{n:,} tokens") for n in WINDOWS], window_size(), name="tokens", data_submits=True)
    return Form(Label("Window ", sizes), hx_post="/models/window", hx_swap="none", cls="row small")


@rt("/models/window", methods=["POST"])
async def models_window(form: Sent):
    tokens = number(form.get("tokens"))
    if tokens not in WINDOWS: raise Problem("There is no such window.", fix=f"Choose one of {', '.join(map(str, WINDOWS))}.")
    store["model.context"] = tokens
    return Response(status_code=204)


def pull_form():
    return Form(H2("From Ollama's library"),
        Div(Input(name="model", placeholder="qwen3:4b", aria_label="Its name there", cls="grow"),
            Button("Pull", cls="spins"), cls="row"), hx_post="/models/pull", hx_swap="none", cls="card stack")


def server_form(problem=None, typed=None):
    "A server elsewhere: its address, the model there, and a key."
    typed = typed or {"url": store.get("model.url", ""), "model": ""}
    try: has_key = bool(typed["url"] and read_key(typed["url"].rstrip("/")))
    except Problem: has_key = False  # the keyring is locked: said when it is needed
    def asked(name, label, **attrs):
        return Div(Label(label, Input(name=name, value=typed.get(name, ""), **attrs)), cls="field")
    return Form(H2("A server that speaks OpenAI's protocol"),
        P("LM Studio, llama-server, vLLM, or a service. Unless it is on this machine, what you say is sent there.",
            cls="muted small"), complaint(P, problem),
        Div(asked("url", "Address", placeholder="http://127.0.0.1:1234/v1"), asked("model", "Model"),
            asked("key", "Key", type="password", autocomplete="off", placeholder="kept" if has_key else ""), cls="fields"),
        Div(Button("Use it", cls="spins"), cls="actions"), hx_post="/models/server", hx_target="this", hx_swap="outerHTML",
        cls="card")


@rt("/models/use", methods=["POST"])
async def models_use(form: Sent):
    store["model"] = model_called(str(form.get("model", ""))).id
    return Response(status_code=204)


@rt("/models/try", methods=["POST"])
async def models_try(form: Sent):
    model = model_called(str(form.get("model", "")))
    facts = await try_model(model)
    broadcaster.publish({"apps": ["models"]})
    return toast(f"{model.title}: {facts['tokens a second']:g} tokens a second")


@rt("/models/server", methods=["POST"])
async def models_server(form: Sent):
    url, name, key = (str(form.get(n, "")).strip() for n in ("url", "model", "key"))
    typed, url = {"url": url, "model": name}, url.rstrip("/")
    try:
        try: parts, _ = urlsplit(url), urlsplit(url).port
        except ValueError: parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise Problem("This is no address of a server." if url else "The address is missing.",
                fix="Give one such as http://127.0.0.1:1234/v1.", status=422)
        check_key(key)
        headers = bearer(key or read_key(url))
        try:
            async with asyncio.timeout(15):
                listed = inside(await json_of(f"{url}/models", headers=headers, who=parts.netloc), "data")
        except TimeoutError: raise Problem(f"{parts.netloc} says nothing.", fix="Is it at work?", status=504) from None
        names = [text_in(m, "id") for m in listed] if isinstance(listed, list) else []
        if not name and len(names) == 1: name = names[0]
        if not name or name not in names:
            raise Problem(f"{clip(name) or 'A model'} is not there.", fix=did_you_mean(name, names), status=422)
        if key: keep_key(url, key)
    except Problem as e: return form_again(e, server_form(e, typed))
    with db.group("settings", "update", f"chose {name} at {parts.netloc}"):
        store["model.url"], store["model"] = url, f"openai:{name}"
    return server_form()


@rt("/models/pull", methods=["POST"])
async def models_pull(form: Sent):
    name = str(form.get("model", "")).strip()
    if not name: raise Problem("The name is missing.", fix="Give one of Ollama's library, such as qwen3:4b.", status=422)
    return HtmxResponseHeaders(redirect=f"/runs/{start_run(get_model, {'model': f'ollama:{name}'}, is_unattended=True)}"), ""


link("Models", "/models")
