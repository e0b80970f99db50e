"""Models of Hugging Face transformers, made from small configurations: weights, outputs, five steps, generated tokens.

`python language_models.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import sys
import warnings

import torch
import transformers as T

warnings.simplefilter("ignore")
T.logging.set_verbosity_error()

TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
SMALL = dict(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=64,
    **TOKENS,
)
GROUPED = dict(SMALL, num_key_value_heads=2)
MODELS = {
    "gpt2": lambda: T.GPT2LMHeadModel(
        T.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=99, n_positions=64, **TOKENS)
    ),
    "llama": lambda: T.LlamaForCausalLM(T.LlamaConfig(**GROUPED)),
    "qwen2": lambda: T.Qwen2ForCausalLM(T.Qwen2Config(**GROUPED)),
    "mistral": lambda: T.MistralForCausalLM(T.MistralConfig(sliding_window=8, **GROUPED)),
    "mixtral": lambda: T.MixtralForCausalLM(T.MixtralConfig(num_local_experts=4, **GROUPED)),
    "mamba": lambda: T.MambaForCausalLM(
        T.MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, state_size=8, **TOKENS)
    ),
    "bert": lambda: T.BertForMaskedLM(T.BertConfig(**SMALL)),
    "xlnet": lambda: T.XLNetLMHeadModel(
        T.XLNetConfig(vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=64, **TOKENS)
    ),
    "t5": lambda: T.T5ForConditionalGeneration(
        T.T5Config(
            vocab_size=99,
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            pad_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=0,
        )
    ),
    "vit": lambda: T.ViTForImageClassification(
        T.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            image_size=32,
            patch_size=8,
            num_labels=5,
        )
    ),
}


def batch(name):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 99, (2, 12), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    if name == "vit":
        images = torch.randn(2, 3, 32, 32, generator=generator)
        return dict(pixel_values=images, labels=torch.tensor([1, 3]))
    if name == "mamba":
        return dict(input_ids=ids, labels=ids)
    return dict(input_ids=ids, attention_mask=mask, labels=ids)


def generated(model, name, inputs):
    length = dict(max_new_tokens=8, min_new_tokens=8)
    ids = inputs["input_ids"] if name == "t5" else inputs["input_ids"][:, :6]
    source = dict(input_ids=ids)
    if name != "mamba":
        source["attention_mask"] = inputs["attention_mask"] if name == "t5" else torch.ones_like(ids)
    found = {"greedy": model.generate(**source, do_sample=False, **length).tolist()}
    if name != "mamba":
        found["no cache"] = model.generate(**source, do_sample=False, use_cache=False, **length).tolist()
    torch.manual_seed(5)
    sampling = dict(do_sample=True, top_k=20, top_p=0.9, temperature=0.8)
    found["sampled"] = model.generate(**source, **sampling, **length).tolist()
    beams = dict(do_sample=False, num_beams=3, num_return_sequences=2)
    found["beams"] = model.generate(**source, **beams, **length).tolist()
    return found


def observe(name):
    torch.manual_seed(0)
    model, inputs = MODELS[name](), batch(name)
    found = {"weights": [float(p.detach().double().sum()) for p in model.parameters()]}
    model.eval()
    with torch.no_grad():
        output = model(**inputs)
    found["type"], found["loss"] = type(output).__name__, float(output.loss)
    found["logits"] = output.logits.flatten()[:50].tolist()
    model.train()
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found["losses"] = []
    for _ in range(5):
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found["losses"].append(float(loss))
    model.eval()
    if name not in ("bert", "xlnet", "vit"):
        found["tokens"] = generated(model, name, inputs)
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        json.dump({name: observe(name) for name in MODELS}, file, indent=0)
