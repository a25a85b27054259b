import os
from urllib.parse import urlencode

import django
import requests
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse
from django.urls import include, path

env = os.environ


def provider_logout(request):
    query = {
        "id_token_hint": request.session["oidc_id_token"],
        "post_logout_redirect_uri": env["POST_LOGOUT_REDIRECT_URI"],
    }
    return env["ISSUER"] + "/oauth2/logout?" + urlencode(query)


settings.configure(
    DEBUG=True,
    SECRET_KEY="a random string",
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": env["CACHE"] + "/db.sqlite3"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "mozilla_django_oidc",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["backend.Backend"],
    OIDC_RP_CLIENT_ID=env["CLIENT_ID"],
    OIDC_RP_CLIENT_SECRET=env["CLIENT_SECRET"],
    OIDC_RP_SIGN_ALGO="RS256",
    OIDC_RP_SCOPES=env["SCOPE"],
    OIDC_OP_AUTHORIZATION_ENDPOINT=env["ISSUER"] + "/oauth2/authorize",
    OIDC_OP_TOKEN_ENDPOINT=env["ISSUER"] + "/oauth2/token",
    OIDC_OP_USER_ENDPOINT=env["ISSUER"] + "/oauth2/userinfo",
    OIDC_OP_JWKS_ENDPOINT=env["ISSUER"] + "/oauth2/jwks",
    OIDC_OP_LOGOUT_URL_METHOD=__name__ + ".provider_logout",
    OIDC_STORE_ACCESS_TOKEN=True,
    OIDC_STORE_ID_TOKEN=True,
    ALLOW_LOGOUT_GET_METHOD=True,
    LOGIN_REDIRECT_URL="/",
    LOGOUT_REDIRECT_URL="/",
)
django.setup()


def index(request):
    user = request.user
    return JsonResponse({"name": user.first_name, "email": user.email} if user.is_authenticated else {})


def call_api(request, url):
    answer = requests.get(url, headers={"Authorization": "Bearer " + request.session["oidc_access_token"]})
    return HttpResponse(answer.text, status=answer.status_code)


urlpatterns = [
    path("oidc/", include("mozilla_django_oidc.urls")),
    path("", index),
    path("api", call_api, {"url": env["API_URL"]}),
    path("other-api", call_api, {"url": env["OTHER_API_URL"]}),
]

call_command("migrate", verbosity=0)
call_command("flush", interactive=False)
call_command("runserver", env["PORT"], use_reloader=False)
