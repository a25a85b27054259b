from mozilla_django_oidc.auth import OIDCAuthenticationBackend


class Backend(OIDCAuthenticationBackend):
    """The library itself keeps the email address only."""

    def create_user(self, claims):
        user = super().create_user(claims)
        user.first_name = claims["name"]
        user.save()
        return user
