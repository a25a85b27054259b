import os
from urllib.parse import urlencode

import django
import requests
from django.conf import settings
from django.contrib.auth import logout
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import include, path

env = os.environ

settings.configure(
    DEBUG=True,
    SECRET_KEY="a random string",
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": env["CACHE"] + "/db.sqlite3"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
    SOCIALACCOUNT_PROVIDERS={
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "SCOPE": env["SCOPE"].split(),
            "APPS": [
                {
                    "provider_id": "lanyard",
                    "name": "Lanyard",
                    "client_id": env["CLIENT_ID"],
                    "secret": env["CLIENT_SECRET"],
                    "settings": {"server_url": env["ISSUER"]},
                }
            ],
        }
    },
    SOCIALACCOUNT_STORE_TOKENS=True,
    LOGIN_REDIRECT_URL="/",
)
django.setup()

from allauth.socialaccount.models import SocialAccount, SocialToken  # noqa: E402


def index(request):
    user = request.user
    return JsonResponse(SocialAccount.objects.get(user=user).extra_data if user.is_authenticated else {})


def call_api(request, url):
    token = SocialToken.objects.get(account__user=request.user)
    answer = requests.get(url, headers={"Authorization": "Bearer " + token.token})
    return HttpResponse(answer.text, status=answer.status_code)


# allauth ends its own session only.
def logout_everywhere(request):
    logout(request)
    query = {"client_id": env["CLIENT_ID"], "post_logout_redirect_uri": env["POST_LOGOUT_REDIRECT_URI"]}
    return redirect(env["ISSUER"] + "/oauth2/logout?" + urlencode(query))


urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("", index),
    path("api", call_api, {"url": env["API_URL"]}),
    path("other-api", call_api, {"url": env["OTHER_API_URL"]}),
    path("logout", logout_everywhere),
]

call_command("migrate", verbosity=0)
call_command("flush", interactive=False)
call_command("runserver", env["PORT"], use_reloader=False)
