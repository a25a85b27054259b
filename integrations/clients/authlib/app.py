import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session

env = os.environ
app = Flask(__name__)
app.secret_key = "a random string"

oauth = OAuth(app)
oauth.register(
    "lanyard",
    client_id=env["CLIENT_ID"],
    client_secret=env["CLIENT_SECRET"],
    server_metadata_url=env["ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": env["SCOPE"]},
    fetch_token=lambda: session["token"],
    update_token=lambda token, refresh_token=None, access_token=None: session.update(token=token),
)


@app.get("/login")
def login():
    return oauth.lanyard.authorize_redirect(env["REDIRECT_URI"])


@app.get("/callback")
def callback():
    session["token"] = oauth.lanyard.authorize_access_token()
    session["user"] = oauth.lanyard.userinfo()
    return redirect("/")


@app.get("/")
def index():
    return session.get("user", {})


def call_api(url):
    answer = oauth.lanyard.get(url)
    return answer.text, answer.status_code


@app.get("/api")
def api():
    return call_api(env["API_URL"])


@app.get("/other-api")
def other_api():
    return call_api(env["OTHER_API_URL"])


# Authlib does this by itself when the token has expired.
@app.get("/refresh")
def refresh():
    session["token"] = {**session["token"], "expires_at": 1}
    return oauth.lanyard.userinfo()


@app.get("/logout")
def logout():
    token = session.pop("token")
    session.clear()
    return oauth.lanyard.logout_redirect(env["POST_LOGOUT_REDIRECT_URI"], id_token_hint=token["id_token"])


app.run(port=int(env["PORT"]))
