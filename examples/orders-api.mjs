// `npm run orders-api`: the API "orders" of README.md, on port 4000 (PORT). It accepts tokens of one client: shop.

import Koa from 'koa';
import { createGuard, koaGuard } from '../src/guard/index.ts';

const port = Number(process.env.PORT ?? 4000);
const guard = createGuard({
  issuer: process.env.LANYARD_ISSUER ?? 'http://localhost:3000',
  audience: 'https://orders.example',
  clients: ['shop'], // whose tokens this API accepts
  mode: 'jwt', // or 'introspection': ask Lanyard about every token
});

const app = new Koa();
app.use(koaGuard(guard, { scopes: ['orders:read'] }));
app.use((ctx) => {
  ctx.body = { hello: ctx.state.principal.clientId };
});
app.listen(port, () => console.error(`orders listens on http://localhost:${port}`));
