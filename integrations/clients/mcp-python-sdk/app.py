import asyncio
import os

import httpx2
import uvicorn
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route

env = os.environ
authorization_urls = asyncio.Queue()
callbacks = asyncio.Queue()


class InMemoryTokenStorage:
    tokens = None
    client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


async def wait_for_callback():
    params = await callbacks.get()
    return AuthorizationCodeResult(code=params["code"], state=params["state"], iss=params["iss"])


oauth = OAuthClientProvider(
    server_url=env["API_URL"],
    client_metadata=OAuthClientMetadata(client_name="Agent", redirect_uris=[env["REDIRECT_URI"]]),
    storage=InMemoryTokenStorage(),
    redirect_handler=authorization_urls.put,
    callback_handler=wait_for_callback,
)


async def call_tool(url):
    async with httpx2.AsyncClient(auth=oauth, follow_redirects=True) as http_client:
        async with Client(streamable_http_client(url, http_client=http_client)) as client:
            result = await client.call_tool("whoami")
            return result.content[0].text


async def login(request):
    request.app.state.signing_in = asyncio.create_task(call_tool(env["API_URL"]))
    return RedirectResponse(await authorization_urls.get())


async def callback(request):
    await callbacks.put(request.query_params)
    await request.app.state.signing_in
    return RedirectResponse("/")


async def index(request):
    return PlainTextResponse("An agent")


async def api(request):
    return PlainTextResponse(await call_tool(env["API_URL"]))


# Its client would say only that there was an error.
async def other_api(request):
    async with httpx2.AsyncClient(auth=oauth) as http_client:
        answer = await http_client.post(env["OTHER_API_URL"])
        return PlainTextResponse(answer.text, answer.status_code)


# The provider does this by itself when the token has expired.
async def refresh(request):
    oauth.context.token_expiry_time = 1
    return PlainTextResponse(await call_tool(env["API_URL"]))


routes = [
    Route("/login", login),
    Route("/callback", callback),
    Route("/", index),
    Route("/api", api),
    Route("/other-api", other_api),
    Route("/refresh", refresh),
]
uvicorn.run(Starlette(routes=routes), port=int(env["PORT"]))
