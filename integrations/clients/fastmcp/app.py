import asyncio
import os
import webbrowser

import httpx2
import uvicorn
from fastmcp import Client
from fastmcp.client.auth import OAuth
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route

env = os.environ
authorization_urls = asyncio.Queue()
# At every start it listens for the redirect on another port.
oauth = OAuth(mcp_url=env["API_URL"], client_id=env["CLIENT_ID"])


class Browser(webbrowser.BaseBrowser):
    """The browser that FastMCP opens is the one that asked for /login."""

    def open(self, url, new=0, autoraise=True):
        authorization_urls.put_nowait(url)
        return True


webbrowser.register("the user's", None, Browser(), preferred=True)


async def call_tool(url):
    async with Client(url, auth=oauth) as client:
        result = await client.call_tool("whoami")
        return result.content[0].text


async def login(request):
    request.app.state.signing_in = asyncio.create_task(call_tool(env["API_URL"]))
    return RedirectResponse(await authorization_urls.get())


async def index(request):
    return PlainTextResponse("An agent")


async def api(request):
    await request.app.state.signing_in
    return PlainTextResponse(await call_tool(env["API_URL"]))


# Its client would say only that there was an error.
async def other_api(request):
    async with httpx2.AsyncClient(auth=oauth) as http_client:
        answer = await http_client.post(env["OTHER_API_URL"])
        return PlainTextResponse(answer.text, answer.status_code)


# It does this by itself when the token has expired.
async def refresh(request):
    oauth.context.token_expiry_time = 1
    return PlainTextResponse(await call_tool(env["API_URL"]))


routes = [
    Route("/login", login),
    Route("/", index),
    Route("/api", api),
    Route("/other-api", other_api),
    Route("/refresh", refresh),
]
uvicorn.run(Starlette(routes=routes), port=int(env["PORT"]))
