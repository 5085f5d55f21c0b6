#include "common/url.h"

#include <curl/curl.h>

static bool take_away(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
	curl_free(text);
	curl_url_set(url, part, NULL, 0);
	return found;
}

bool url_add_shown(struct buffer *out, const char *url)
{
	CURLU *parsed = curl_url();
	bool hidden = curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK;
	char *text = NULL;
	if (!hidden) {
		hidden |= take_away(parsed, CURLUPART_USER);
		hidden |= take_away(parsed, CURLUPART_PASSWORD);
		hidden |= take_away(parsed, CURLUPART_QUERY);
		curl_url_get(parsed, CURLUPART_URL, &text, 0);
	}
	buffer_add_text(out, text ? text : "");
	curl_free(text);
	curl_url_cleanup(parsed);
	return hidden;
}
