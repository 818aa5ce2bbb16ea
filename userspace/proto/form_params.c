/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/form_params.h"

#include "proto/multipart.h"
#include "proto/utf8.h"

static bool token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

size_t eg_form_token_length(struct eg_str s)
{
	size_t n = 0;

	while (n < s.n && token_char(s.p[n]))
		n++;
	return n;
}

static struct eg_str after(struct eg_str s, size_t n)
{
	return (struct eg_str){s.p + n, s.n - n};
}

static struct eg_str skip_space(struct eg_str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = after(s, 1);
	return s;
}

/* Past the opening quote. */
static int quoted_value(struct eg_str *rest, struct eg_form_param *out)
{
	size_t i = 0;

	while (i < rest->n && rest->p[i] != '"') {
		/* Browsers send a backslash as it is; Go and curl escape it, and the quote. */
		bool pair = i + 1 < rest->n && rest->p[i] == '\\' &&
			    (rest->p[i + 1] == '"' || rest->p[i + 1] == '\\');

		if (pair && (rest->p[i + 1] == '"' || (i + 2 < rest->n && rest->p[i + 2] == '"')))
			out->escaped = true;
		i += pair ? 2 : 1;
	}
	if (i >= rest->n)
		return -EINVAL;
	out->value = (struct eg_str){rest->p, i};
	*rest = after(*rest, i + 1);
	return 1;
}

int eg_form_param_next(struct eg_str *rest, struct eg_form_param *out)
{
	struct eg_str s = skip_space(*rest);

	if (!s.n)
		return 0;
	if (s.p[0] != ';')
		return -EINVAL;
	s = skip_space(after(s, 1));
	*out = (struct eg_form_param){.name = {s.p, eg_form_token_length(s)}};
	if (!out->name.n || out->name.n == s.n || s.p[out->name.n] != '=')
		return -EINVAL;
	*rest = after(s, out->name.n + 1);
	out->quoted = rest->n && rest->p[0] == '"';
	if (out->quoted) {
		*rest = after(*rest, 1);
		return quoted_value(rest, out);
	}
	out->value = (struct eg_str){rest->p, eg_form_token_length(*rest)};
	*rest = after(*rest, out->value.n);
	return out->value.n ? 1 : -EINVAL;
}

/* ---- Content-Type ---- */

/* bchars of RFC 2046 section 5.1.1; a space only inside, which the caller checks. */
static bool boundary_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("'()+_,-./:=? ", c));
}

static bool is_ascii_charset(struct eg_str value)
{
	return eg_str_ieq(value, EG_STR("utf-8")) || eg_str_ieq(value, EG_STR("us-ascii"));
}

/* How often the word occurs, in any case: readers that only search for it find the first. */
static size_t occurrences(struct eg_str s, struct eg_str word)
{
	size_t count = 0;

	for (; s.n >= word.n; s = after(s, 1))
		count += eg_str_istarts(s, word);
	return count;
}

static int take_boundary(const struct eg_form_param *p, struct eg_str *boundary, struct eg_error *e)
{
	struct eg_str v = p->value;

	if (!v.n || v.n > EG_MULTIPART_BOUNDARY_MAX)
		return eg_error_set(e, -EINVAL,
				    "Content-Type: the boundary has %zu characters; expected 1 to "
				    "%u",
				    v.n, EG_MULTIPART_BOUNDARY_MAX);
	if (v.p[0] == ' ' || v.p[v.n - 1] == ' ')
		return eg_error_set(e, -EINVAL,
				    "Content-Type: the boundary begins or ends with a space");
	for (size_t i = 0; i < v.n; i++)
		if (!boundary_char(v.p[i]))
			return eg_error_set(e, -EINVAL,
					    "Content-Type: the boundary has a character that RFC "
					    "2046 does not allow in one");
	*boundary = v;
	return 0;
}

int eg_multipart_boundary(struct eg_str content_type, struct eg_str *boundary, struct eg_error *e)
{
	static const struct eg_str type = EG_STR("multipart/form-data");
	struct eg_str rest = content_type, found = {0};
	struct eg_form_param p;
	bool charset = false;
	int r;

	if (!eg_str_istarts(rest, type))
		return eg_error_set(e, -EINVAL, "Content-Type: expected multipart/form-data");
	if (occurrences(rest, EG_STR("boundary=")) > 1)
		return eg_error_set(e, -EINVAL, "Content-Type: \"boundary\" occurs more than once");
	rest = after(rest, type.n);
	while ((r = eg_form_param_next(&rest, &p)) > 0) {
		if (eg_str_ieq(p.name, EG_STR("boundary")))
			r = take_boundary(&p, &found, e);
		else if (eg_str_istarts(p.name, EG_STR("boundary")))
			r = eg_error_set(e, -EINVAL,
					 "Content-Type: a boundary in an extended form");
		else if (eg_str_istarts(p.name, EG_STR("charset")) &&
			 (charset || p.name.n != 7 || !is_ascii_charset(p.value)))
			r = eg_error_set(e, -EINVAL,
					 "Content-Type: a charset; expected none, or utf-8");
		charset |= eg_str_ieq(p.name, EG_STR("charset"));
		if (r < 0)
			return r;
	}
	if (r)
		return eg_error_set(e, -EINVAL,
				    "Content-Type: malformed parameters (quotes are needed around "
				    "a boundary with other than letters, digits and '+_-.)");
	if (!found.p)
		return eg_error_set(e, -EINVAL, "Content-Type: no boundary");
	*boundary = found;
	return 0;
}

bool eg_part_is_utf8(const struct eg_part *part)
{
	struct eg_str rest = part->content_type;
	struct eg_form_param p;
	ssize_t end;
	int r;

	if (!rest.p)
		return true;
	end = eg_str_find(rest, ';');
	if (end < 0)
		return true;
	rest = after(rest, (size_t)end);
	while ((r = eg_form_param_next(&rest, &p)) > 0)
		if (eg_str_istarts(p.name, EG_STR("charset")) &&
		    (p.name.n != 7 || !is_ascii_charset(p.value)))
			return false;
	return !r;
}

/* ---- Content-Disposition ---- */

static bool is_browser_escape(struct eg_str s)
{
	return eg_str_istarts(s, EG_STR("%22")) || eg_str_istarts(s, EG_STR("%0d")) ||
	       eg_str_istarts(s, EG_STR("%0a"));
}

/* NULL, or what is wrong. No name that an API defines needs an escape, so those that some readers
 * undo, and so may hide such a name, are refused; not browsers', which make none of them. */
static const char *check_name(struct eg_str s)
{
	if (!s.n)
		return "a part without a name";
	if (s.p[0] == ' ' || s.p[s.n - 1] == ' ')
		return "a part's name begins or ends with a space";
	if (eg_str_ieq(s, EG_STR("_charset_")))
		return "a part named _charset_; expected UTF-8, without it";
	while (s.n) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = eg_utf8_length((const unsigned char *)s.p, s.n);

		if (!n)
			return "a part's name is not UTF-8";
		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c == ';')
			return "a part's name with a character that readers take differently "
			       "(quote, backslash, semicolon, control)";
		if (c == '%' && !is_browser_escape(s))
			return "a part's name with an escape that readers take differently; "
			       "expected %22, %0D or %0A at most";
		s = after(s, n);
	}
	return NULL;
}

/* Only its end, and that it is not empty, matters. `last`: no parameter follows it. */
static const char *check_filename(const struct eg_form_param *p, bool last)
{
	bool semicolon = eg_str_find(p->value, ';') >= 0;

	if (!p->value.n)
		return "an empty filename, which readers take for a file or for none";
	if (p->escaped && (!last || semicolon))
		return "a filename with a backslash before a quote, and with more after it: "
		       "readers differ on where it ends";
	if (semicolon && eg_str_find(p->value, '=') >= 0)
		return "a filename that could be taken for another parameter (';' and '=')";
	return NULL;
}

/* RFC 8187: charset'language'value. */
static bool ext_value(struct eg_str v)
{
	struct eg_str charset = EG_STR("utf-8'");
	ssize_t quote;

	if (!eg_str_istarts(v, charset))
		return false;
	v = after(v, charset.n);
	quote = eg_str_find(v, '\'');
	return quote >= 0 && (size_t)quote + 1 < v.n;
}

const char *eg_form_disposition(struct eg_str value, struct eg_str *name, bool *file)
{
	struct eg_str rest = value;
	struct eg_form_param p;
	const char *wrong;
	int r;

	if (!eg_str_istarts(rest, EG_STR("form-data")))
		return "a Content-Disposition other than form-data";
	rest = after(rest, 9);
	r = eg_form_param_next(&rest, &p);
	if (r <= 0 || !eg_str_ieq(p.name, EG_STR("name")))
		return "a Content-Disposition whose first parameter is not the name";
	wrong = check_name(p.value);
	if (wrong)
		return wrong;
	*name = p.value;
	*file = false;
	r = eg_form_param_next(&rest, &p);
	if (r > 0 && eg_str_ieq(p.name, EG_STR("filename"))) {
		*file = true;
		wrong = check_filename(&p, !skip_space(rest).n);
		if (wrong)
			return wrong;
		r = eg_form_param_next(&rest, &p);
		if (r > 0 && eg_str_ieq(p.name, EG_STR("filename*")) && !p.quoted &&
		    ext_value(p.value))
			r = eg_form_param_next(&rest, &p);
	}
	return r ? "a Content-Disposition with other parameters than name, filename, and filename* "
		   "beside it, in this order"
		 : NULL;
}
