/* Runs a fuzz target on files, for compilers without libFuzzer: replay <file>... */

#include "fuzz.h"

int main(int argc, char **argv)
{
	static uint8_t input[1 << 20];
	int i;

	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		uint8_t *data;
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		size = fread(input, 1, sizeof(input), file);
		fclose(file);
		/* Of its own size, so that ASan sees what is read behind it */
		data = malloc(size ? size : 1);
		CHECK(data);
		memcpy(data, input, size);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%d inputs replayed\n", argc - 1);
	return 0;
}
