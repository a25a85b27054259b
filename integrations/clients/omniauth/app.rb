require 'net/http'
require 'omniauth_openid_connect'
require 'sinatra'

SWD.url_builder = URI::HTTP # for an issuer without TLS, such as http://localhost

set :port, ENV['PORT']
use Rack::Session::Pool
use OmniAuth::Builder do
  provider :openid_connect, {
    name: :lanyard,
    issuer: ENV['ISSUER'],
    discovery: true,
    scope: ENV['SCOPE'].split.map(&:to_sym),
    response_type: :code,
    client_options: {
      identifier: ENV['CLIENT_ID'],
      secret: ENV['CLIENT_SECRET'],
      redirect_uri: ENV['REDIRECT_URI'],
    },
  }
end

get '/login' do
  token = Rack::Protection::AuthenticityToken.token(session)
  %(<form method="post" action="/auth/lanyard">
    <input type="hidden" name="authenticity_token" value="#{token}"><button>Sign in</button></form>)
end

get '/auth/lanyard/callback' do
  auth = request.env['omniauth.auth']
  session[:user] = auth.info.to_h
  session[:token] = auth.credentials.token
  redirect '/'
end

get '/' do
  (session[:user] || {}).to_json
end

def call_api(url)
  answer = Net::HTTP.get_response(URI(url), 'Authorization' => "Bearer #{session[:token]}")
  [answer.code.to_i, answer.body]
end

get('/api') { call_api(ENV['API_URL']) }
get('/other-api') { call_api(ENV['OTHER_API_URL']) }

# /auth/lanyard/logout of the library says neither which client it is nor which user.
get '/logout' do
  session.clear
  query = { client_id: ENV['CLIENT_ID'], post_logout_redirect_uri: ENV['POST_LOGOUT_REDIRECT_URI'] }
  redirect "#{ENV['ISSUER']}/oauth2/logout?#{URI.encode_www_form(query)}"
end
