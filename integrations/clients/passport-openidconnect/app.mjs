import express from 'express';
import session from 'express-session';
import passport from 'passport';
import OpenIDConnectStrategy from 'passport-openidconnect';

const env = process.env;
passport.use(
  new OpenIDConnectStrategy(
    {
      issuer: env.ISSUER,
      authorizationURL: `${env.ISSUER}/oauth2/authorize`,
      tokenURL: `${env.ISSUER}/oauth2/token`,
      userInfoURL: `${env.ISSUER}/oauth2/userinfo`,
      clientID: env.CLIENT_ID,
      clientSecret: env.CLIENT_SECRET,
      nonce: true,
      callbackURL: env.REDIRECT_URI,
      scope: env.SCOPE.split(' ').filter((scope) => scope !== 'openid'),
    },
    function verify(_issuer, profile, _context, idToken, accessToken, _refreshToken, cb) {
      cb(null, { ...profile, idToken, accessToken });
    },
  ),
);
passport.serializeUser((user, cb) => cb(null, user));
passport.deserializeUser((user, cb) => cb(null, user));

const app = express();
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }));
app.use(passport.authenticate('session'));

app.get('/login', passport.authenticate('openidconnect'));

app.get('/callback', passport.authenticate('openidconnect', { failWithError: true }), (_request, response) =>
  response.redirect('/'),
);

app.get('/', (request, response) => {
  const { displayName, emails } = request.user ?? {};
  response.json({ displayName, emails });
});

async function callApi(url, { user }, response) {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${user.accessToken}` } });
  response.status(answer.status).send(await answer.text());
}
app.get('/api', (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', (request, response) => callApi(env.OTHER_API_URL, request, response));

app.get('/logout', (request, response, next) => {
  const { idToken } = request.user;
  const url = new URL(`${env.ISSUER}/oauth2/logout`);
  url.searchParams.set('id_token_hint', idToken);
  url.searchParams.set('post_logout_redirect_uri', env.POST_LOGOUT_REDIRECT_URI);
  request.logout((error) => (error ? next(error) : response.redirect(url.href)));
});

app.listen(env.PORT);
