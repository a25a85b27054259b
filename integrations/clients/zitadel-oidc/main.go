// As example/client/app of zitadel/oidc.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

type session struct {
	tokens *oidc.Tokens[*oidc.IDTokenClaims]
	info   *oidc.UserInfo
}

// by the value of the cookie `session`
var sessions = map[string]*session{}

func find(r *http.Request) *session {
	cookie, err := r.Cookie("session")
	if err != nil {
		return nil
	}
	return sessions[cookie.Value]
}

func main() {
	ctx := context.Background()
	key := []byte("test1234test1234")
	cookieHandler := httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())
	provider, err := rp.NewRelyingPartyOIDC(ctx,
		os.Getenv("ISSUER"), os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"), os.Getenv("REDIRECT_URI"),
		strings.Split(os.Getenv("SCOPE"), " "),
		rp.WithCookieHandler(cookieHandler),
		rp.WithVerifierOpts(rp.WithIssuedAtOffset(5*time.Second)),
		rp.WithSigningAlgsFromDiscovery(),
		rp.WithPKCE(cookieHandler),
	)
	if err != nil {
		log.Fatal(err)
	}

	http.Handle("/login", rp.AuthURLHandler(rand.Text, provider))

	signedIn := func(w http.ResponseWriter, r *http.Request, tokens *oidc.Tokens[*oidc.IDTokenClaims],
		state string, provider rp.RelyingParty, info *oidc.UserInfo) {
		id := rand.Text()
		sessions[id] = &session{tokens, info}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true})
		http.Redirect(w, r, "/", http.StatusFound)
	}
	http.Handle("/callback", rp.CodeExchangeHandler(rp.UserinfoCallback(signedIn), provider))

	http.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if user := find(r); user != nil {
			json.NewEncoder(w).Encode(user.info)
		}
	})

	callAPI := func(api string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			answer, err := provider.OAuthConfig().Client(ctx, find(r).tokens.Token).Get(api)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer answer.Body.Close()
			w.WriteHeader(answer.StatusCode)
			io.Copy(w, answer.Body)
		}
	}
	http.HandleFunc("/api", callAPI(os.Getenv("API_URL")))
	http.HandleFunc("/other-api", callAPI(os.Getenv("OTHER_API_URL")))

	http.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
		user := find(r)
		tokens, err := rp.RefreshTokens[*oidc.IDTokenClaims](ctx, provider, user.tokens.RefreshToken, "", "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		user.tokens = tokens
	})

	// rp.EndSession sends the request by itself, without the cookies of the browser that is signed in.
	http.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		query := url.Values{
			"id_token_hint":            {find(r).tokens.IDToken},
			"post_logout_redirect_uri": {os.Getenv("POST_LOGOUT_REDIRECT_URI")},
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Path: "/", MaxAge: -1})
		http.Redirect(w, r, provider.GetEndSessionEndpoint()+"?"+query.Encode(), http.StatusFound)
	})

	log.Fatal(http.ListenAndServe("localhost:"+os.Getenv("PORT"), nil))
}
