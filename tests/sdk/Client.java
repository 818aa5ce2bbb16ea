// SPDX-License-Identifier: Apache-2.0
// GET a URL with Java's own TLS; the trust store comes from -Djavax.net.ssl.trustStore. Exit 0 only on an answer.
import java.net.URI;
import javax.net.ssl.HttpsURLConnection;

public class Client {
	public static void main(String[] args) throws Exception {
		HttpsURLConnection c = (HttpsURLConnection) URI.create(args[0]).toURL().openConnection();
		c.setConnectTimeout(10000);
		c.setReadTimeout(10000);
		System.out.println(c.getResponseCode());
	}
}
