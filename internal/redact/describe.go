package redact

import "strings"

// described describes the kinds that are not named after an issuer.
var described = map[string]string{
	kindAssignment: "a password or a token", kindMember: "a password or a token", kindConfigured: "a configured secret",
	kindUnscanned: "text that was too long to search", "private_key": "a private key", "json_web_key": "a private JSON web key",
	"jwt": "a JSON web token", "age_key": "an age key", "bearer_token": "a bearer token", "basic_auth": "a user name with its password",
	"url_password": "an address with a password", "url_signature": "a signed address", "password_hash": "the hash of a password",
	"wallet_words": "the recovery words of a wallet", "sql_password": "a password in SQL", "command_password": "a password in a command",
	"pgpass": "a line of a .pgpass file", "kubernetes_secret": "the data of a Kubernetes Secret", "gem_key": "a RubyGems key",
	"crates_token": "a crates.io token", "npm_token": "an npm token", "fly_token": "a Fly.io token", "xai_key": "an xAI key",
	"google_key": "a Google key", "slack_webhook": "a Slack webhook's address", "discord_webhook": "a Discord webhook's address",
}

// issuers holds issuer names with an unusual spelling.
var issuers = map[string]string{
	"aws": "AWS", "github": "GitHub", "gitlab": "GitLab", "openai": "OpenAI", "pypi": "PyPI", "digitalocean": "DigitalOcean",
	"huggingface": "Hugging Face", "sendgrid": "SendGrid", "hubspot": "HubSpot", "newrelic": "New Relic", "langsmith": "LangSmith",
	"planetscale": "PlanetScale", "onepassword": "1Password", "hashicorp": "HashiCorp",
}

// Describe describes a kind of finding in words, such as "a GitHub token".
func Describe(kind string) string {
	if s, ok := described[kind]; ok {
		return s
	}
	issuer, what, _ := strings.Cut(kind, "_")
	name, ok := issuers[issuer]
	if !ok && issuer != "" {
		name = strings.ToUpper(issuer[:1]) + issuer[1:]
	}
	article := "a "
	if strings.IndexByte("AEIO", (name + " ")[0]) >= 0 {
		article = "an "
	}
	return strings.TrimSpace(article + name + " " + strings.ReplaceAll(what, "_", " "))
}
