import express from 'express';
import openid from 'express-openid-connect';

const env = process.env;
const app = express();
app.use(
  openid.auth({
    issuerBaseURL: env.ISSUER,
    baseURL: env.APP_URL,
    clientID: env.CLIENT_ID,
    clientSecret: env.CLIENT_SECRET,
    secret: 'a long, randomly-generated string stored in env',
    authRequired: false,
    idpLogout: true,
    authorizationParams: { response_type: 'code', scope: env.SCOPE },
  }),
);

app.get('/', async (request, response) => {
  response.json(request.oidc.isAuthenticated() ? await request.oidc.fetchUserInfo() : {});
});

async function callApi(url, request, response) {
  const { token_type, access_token } = request.oidc.accessToken;
  const answer = await fetch(url, { headers: { Authorization: `${token_type} ${access_token}` } });
  response.status(answer.status).send(await answer.text());
}
app.get('/api', openid.requiresAuth(), (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', openid.requiresAuth(), (request, response) => callApi(env.OTHER_API_URL, request, response));

app.get('/refresh', openid.requiresAuth(), async (request, response) => {
  await request.oidc.accessToken.refresh();
  response.send('refreshed');
});

app.listen(env.PORT);
