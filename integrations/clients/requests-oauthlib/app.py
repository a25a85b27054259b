import os

from flask import Flask, redirect, request, session
from oauthlib.oauth2 import WebApplicationClient
from requests_oauthlib import OAuth2Session

env = os.environ
env["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # for an app and an issuer without TLS, such as http://localhost
AUTHORIZATION_URL = env["ISSUER"] + "/oauth2/authorize"
TOKEN_URL = env["ISSUER"] + "/oauth2/token"
USERINFO_URL = env["ISSUER"] + "/oauth2/userinfo"
LOGOUT_URL = env["ISSUER"] + "/oauth2/logout"

app = Flask(__name__)
app.secret_key = "a random string"


@app.get("/login")
def login():
    lanyard = OAuth2Session(env["CLIENT_ID"], redirect_uri=env["REDIRECT_URI"], scope=env["SCOPE"].split())
    pkce = WebApplicationClient(env["CLIENT_ID"])
    session["code_verifier"] = pkce.create_code_verifier(64)
    authorization_url, session["state"] = lanyard.authorization_url(
        AUTHORIZATION_URL,
        code_challenge=pkce.create_code_challenge(session["code_verifier"], "S256"),
        code_challenge_method="S256",
    )
    return redirect(authorization_url)


@app.get("/callback")
def callback():
    lanyard = OAuth2Session(
        env["CLIENT_ID"], redirect_uri=env["REDIRECT_URI"], scope=env["SCOPE"].split(), state=session["state"]
    )
    session["token"] = lanyard.fetch_token(
        TOKEN_URL,
        client_secret=env["CLIENT_SECRET"],
        authorization_response=request.url,
        code_verifier=session["code_verifier"],
    )
    session["user"] = lanyard.get(USERINFO_URL).json()
    return redirect("/")


@app.get("/")
def index():
    return session.get("user", {})


def call_api(url):
    answer = OAuth2Session(env["CLIENT_ID"], token=session["token"]).get(url)
    return answer.text, answer.status_code


@app.get("/api")
def api():
    return call_api(env["API_URL"])


@app.get("/other-api")
def other_api():
    return call_api(env["OTHER_API_URL"])


@app.get("/refresh")
def refresh():
    lanyard = OAuth2Session(env["CLIENT_ID"], token=session["token"])
    session["token"] = lanyard.refresh_token(TOKEN_URL, auth=(env["CLIENT_ID"], env["CLIENT_SECRET"]))
    return "refreshed"


# The library has nothing for it.
@app.get("/logout")
def logout():
    session.clear()
    query = f"client_id={env['CLIENT_ID']}&post_logout_redirect_uri={env['POST_LOGOUT_REDIRECT_URI']}"
    return redirect(f"{LOGOUT_URL}?{query}")


app.run(port=int(env["PORT"]))
